"""Blenderbot (https://arxiv.org/abs/2004.13637), but for its 90M model: mBART's norms, positions counted from 0."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart, mbart
from conjoin.families.shared.bart_like import sided_family
from conjoin.families.shared.bart_rows import LAYERS, TOKEN
from conjoin.spec import RoleName, StackSpec, table

__all__ = ["BLENDERBOT", "FAMILIES", "BlenderbotConfig"]
UNREAD = frozenset("do_blenderbot_90_layernorm extra_layer_norm layernorm_variant unk_token_id".split())


@config_class
@dataclass(kw_only=True)
class BlenderbotConfig(bart.BartConfig):
    """Sizes and settings of a Blenderbot, with transformers' names and defaults."""

    model_type: ClassVar[str] = "blenderbot"
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | UNREAD
    only: ClassVar[dict[str, tuple[object, ...]]] = {**mbart.PRE_NORM, "normalize_embedding": (False,)}

    vocab_size: int = 8008
    max_position_embeddings: int = 128
    encoder_layers: int = 2
    encoder_ffn_dim: int = 10240
    encoder_attention_heads: int = 32
    decoder_layers: int = 24
    decoder_ffn_dim: int = 10240
    decoder_attention_heads: int = 32
    d_model: int = 2560
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    decoder_start_token_id: int | None = 1


def read(config: BlenderbotConfig, role: RoleName) -> StackSpec:
    """mBART's norms, but for the embeddings', and positions counted from 0."""
    positions = config.max_position_embeddings
    return bart.read(
        config, role, norms="pre", final_norm=True, embed_norm=False, positions=positions, position_offset=0
    )


POSITIONS = table("embed.", "", "position=embed_positions")

BLENDERBOT = sided_family(BlenderbotConfig, "Blenderbot", read, (TOKEN, *LAYERS, *POSITIONS, *mbart.FINAL))
FAMILIES = (BLENDERBOT,)
