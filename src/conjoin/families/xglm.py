"""XGLM (https://arxiv.org/abs/2112.10668): a pre-norm causal decoder with computed positions."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.shared.bart_decoder import bart_decoder_stack
from conjoin.families.shared.bart_fields import BartFieldsConfig, dropouts
from conjoin.families.shared.bart_rows import CROSS, LAYERS
from conjoin.families.shared.causal import HEAD
from conjoin.spec import Family, Role, StackSpec, table

__all__ = ["FAMILIES", "XGLM", "XGLMConfig"]


@config_class
@dataclass(kw_only=True)
class XGLMConfig(BartFieldsConfig):
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
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    scale_embedding: bool = True
    decoder_start_token_id: int | None = 2


def read(config: XGLMConfig) -> StackSpec:
    """XGLM's facts; causal on either side."""
    if config.pad_token_id is not None and config.pad_token_id > 1:
        raise ConfigError(
            f'xglm: "pad_token_id" is {config.pad_token_id}; 0, 1 or null is implemented, since the row of that number '
            f"in the table of positions is empty, and from 2 on they are in use."
        )
    return bart_decoder_stack(
        config,
        sinusoidal="fairseq",
        activation=config.activation_function,
        embed_scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        **dropouts(config),
    )


BODY = (*table("", "", "embed.token=embed_tokens norm=layer_norm"), *LAYERS)
BUFFERS = (r"embed_positions\.weights$", r"^lm_head\.weight$")

XGLM = Family(
    config=XGLMConfig,
    encoder=Role("XGLMModel", read, BODY, ("", "model."), (*BUFFERS, r"\.encoder_attn")),
    decoder=Role("XGLMForCausalLM", read, (*BODY, *CROSS, *HEAD), ("model.", ""), BUFFERS),
)
FAMILIES = (XGLM,)
