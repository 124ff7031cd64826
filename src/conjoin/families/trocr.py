"""TrOCR (https://arxiv.org/abs/2109.10282): a decoder trained to read an image encoder, of any width, out loud."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.families.m2m_100 import counted
from conjoin.families.shared.bart_fields import BartFieldsConfig
from conjoin.families.shared.bart_rows import BODY, CROSS
from conjoin.spec import Family, Role, StackSpec, row

__all__ = ["FAMILIES", "TROCR", "TrOCRConfig"]


@config_class
@dataclass(kw_only=True)
class TrOCRConfig(BartFieldsConfig):
    """Sizes and settings of a TrOCR decoder, with transformers' names and defaults."""

    model_type: ClassVar[str] = "trocr"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "decoder_attention_heads",
        "num_hidden_layers": "decoder_layers",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset({"classifier_dropout"})
    only: ClassVar[dict[str, tuple[object, ...]]] = {"decoder_layerdrop": (0, 0.0)}

    vocab_size: int = 50265
    d_model: int = 1024
    decoder_layers: int = 12
    decoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    max_position_embeddings: int = 512
    activation_dropout: float = 0.0
    scale_embedding: bool = False
    use_learned_position_embeddings: bool = True
    layernorm_embedding: bool = True
    cross_attention_hidden_size: int | None = None
    decoder_start_token_id: int | None = 2


def read(config: TrOCRConfig) -> StackSpec:
    """The facts of BART's decoder, with a width of its own for what it reads, and perhaps M2M-100's positions."""
    facts: dict[str, object] = {
        "embed_norm": config.layernorm_embedding,
        "memory_width": config.cross_attention_hidden_size or 0,
        "head_bias": "none",
    }
    positions = {} if config.use_learned_position_embeddings else counted(config)
    return bart.read(config, "decoder", **facts, **positions)


HEAD = row("output.weight", "output_projection.weight", rooted=True)
BUFFERS = (r"embed_positions\.(weights|_float_tensor)$", r"^output_projection\.weight$")

ROWS = (*BODY, *CROSS, HEAD)
DECODER = Role("TrOCRForCausalLM", read, ROWS, ("model.decoder.", "decoder."), BUFFERS, "trained")

TROCR = Family(config=TrOCRConfig, decoder=DECODER)
FAMILIES = (TROCR,)
