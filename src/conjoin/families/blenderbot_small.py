"""Blenderbot small (https://arxiv.org/abs/2004.13637), the 90M model: BART with positions counted from 0."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.families.blenderbot import UNREAD
from conjoin.families.shared.bart_like import sided_family
from conjoin.spec import RoleName, StackSpec

__all__ = ["BLENDERBOT_SMALL", "FAMILIES", "BlenderbotSmallConfig"]


@config_class
@dataclass(kw_only=True)
class BlenderbotSmallConfig(bart.BartConfig):
    """Sizes and settings of a Blenderbot small, with transformers' names and defaults."""

    model_type: ClassVar[str] = "blenderbot-small"
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | UNREAD

    max_position_embeddings: int = 512
    encoder_layers: int = 8
    encoder_ffn_dim: int = 2048
    decoder_layers: int = 8
    decoder_ffn_dim: int = 2048
    d_model: int = 512
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    decoder_start_token_id: int | None = 1


def read(config: BlenderbotSmallConfig, role: RoleName) -> StackSpec:
    """BART's facts, with positions counted from 0, which the decoder adds after the norm; it never scales embeddings."""
    own = {"embed_norm_first": True, "embed_scale": 1.0} if role == "decoder" else {}
    return bart.read(config, role, positions=config.max_position_embeddings, position_offset=0, **own)


BLENDERBOT_SMALL = sided_family(BlenderbotSmallConfig, "BlenderbotSmall", read)
FAMILIES = (BLENDERBOT_SMALL,)
