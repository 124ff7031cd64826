"""XGLM (https://arxiv.org/abs/2112.10668): a pre-norm causal decoder with computed positions."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.errors import ConfigError
from conjoin.families import bart
from conjoin.spec import Family, Role, StackSpec, row, stack, table

__all__ = ["FAMILIES", "XGLM", "XGLMConfig"]


@config_class
@dataclass(kw_only=True)
class XGLMConfig(ModelConfig):
    """Sizes and settings of an XGLM, with transformers' names and defaults."""

    model_type: ClassVar[str] = "xglm"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "intermediate_size": "ffn_dim",
        "initializer_range": "init_std",
        "num_attention_heads": "attention_heads",
        "num_hidden_layers": "num_layers",
    }
    only: ClassVar[dict[str, tuple[object, ...]]] = {"layerdrop": (0, 0.0)}

    vocab_size: int = 256008
    max_position_embeddings: int = 2048
    d_model: int = 1024
    ffn_dim: int = 4096
    num_layers: int = 24
    attention_heads: int = 16
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 2


def read(config: XGLMConfig) -> StackSpec:
    """XGLM's facts; causal on either side."""
    if config.pad_token_id is not None and config.pad_token_id > 1:
        raise ConfigError(
            f'xglm: "pad_token_id" is {config.pad_token_id}; 0, 1 or null is implemented, since the row of that number '
            f"in the table of positions is empty, and from 2 on they are in use."
        )
    return stack(
        config,
        positions=config.max_position_embeddings + 2,
        position_offset=2,
        sinusoidal="fairseq",
        activation=config.activation_function,
        norm_eps=1e-5,
        norms="pre",
        final_norm=True,
        causal=True,
        embed_scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        dropout=config.dropout,
        embed_dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        head="plain" if config.is_decoder else "none",
    )


BODY = (*table("", "", "embed.token=embed_tokens norm=layer_norm"), *bart.LAYERS)
HEAD = row("output.weight", "lm_head.weight", rooted=True)
BUFFERS = (r"embed_positions\.weights$", r"^lm_head\.weight$")

XGLM = Family(
    config=XGLMConfig,
    encoder=Role("XGLMModel", read, BODY, ("", "model."), (*BUFFERS, r"\.encoder_attn")),
    decoder=Role("XGLMForCausalLM", read, (*BODY, *bart.CROSS, HEAD), ("model.", ""), BUFFERS),
)
FAMILIES = (XGLM,)
