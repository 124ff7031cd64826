"""TrOCR (https://arxiv.org/abs/2109.10282): a decoder trained to read an image encoder, of any width, out loud."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families import bart
from conjoin.spec import Family, Role, StackSpec, row

__all__ = ["FAMILIES", "TROCR", "TrOCRConfig"]


@config_class
@dataclass(kw_only=True)
class TrOCRConfig(ModelConfig):
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
    activation_function: str = "gelu"
    max_position_embeddings: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = False
    use_learned_position_embeddings: bool = True
    layernorm_embedding: bool = True
    cross_attention_hidden_size: int | None = None
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2


def read(config: TrOCRConfig) -> StackSpec:
    """The facts of BART's decoder, with a width of its own for what it reads, and perhaps XGLM's positions."""
    facts: dict[str, object] = {
        "embed_norm": config.layernorm_embedding,
        "memory_width": config.cross_attention_hidden_size or 0,
        "head_bias": "none",
    }
    if not config.use_learned_position_embeddings:
        pad = 1 if config.pad_token_id is None else config.pad_token_id
        facts |= {"sinusoidal": "fairseq", "position_offset": pad + 1, "position_pad": pad}
        facts["positions"] = config.max_position_embeddings + pad + 1
    return bart.read(config, "decoder", **facts)


HEAD = row("output.weight", "output_projection.weight", rooted=True)
BUFFERS = (r"embed_positions\.(weights|_float_tensor)$", r"^output_projection\.weight$")

TROCR = Family(
    config=TrOCRConfig,
    decoder=Role(
        "TrOCRForCausalLM", read, (*bart.BODY, *bart.CROSS, HEAD), ("model.decoder.", "decoder."), BUFFERS, "trained"
    ),
)
FAMILIES = (TROCR,)
