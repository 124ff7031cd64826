"""GPT-Neo: GPT-2 with scores as they are, and a window in every other layer (https://doi.org/10.5281/zenodo.5297715)."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.causal import causal_family, causal_stack, cross_rows
from conjoin.families.shared.local_layers import LocalLayersConfig
from conjoin.spec import BIASES, StackSpec, table

__all__ = ["FAMILIES", "GPT_NEO", "GPTNeoConfig"]


@config_class
@dataclass(kw_only=True)
class GPTNeoConfig(LocalLayersConfig):
    """Sizes and settings of a GPT-Neo, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gpt_neo"
    attribute_map: ClassVar[dict[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "attention_layers classifier_dropout summary_activation summary_first_dropout summary_proj_to_labels "
        "summary_type summary_use_proj".split()  # attention_types says the same as attention_layers
    )

    vocab_size: int = 50257
    max_position_embeddings: int = 2048
    hidden_size: int = 2048
    num_heads: int = 16
    intermediate_size: int | None = None
    activation_function: str = "gelu_new"
    resid_dropout: float = 0.0
    embed_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256


def read(config: GPTNeoConfig) -> StackSpec:
    """GPT-Neo's facts; causal on either side."""
    return causal_stack(
        config,
        ffn=config.intermediate_size or 4 * config.hidden_size,
        positions=config.max_position_embeddings,
        reaches=config.reaches(),
        score_scale=1.0,
        activation=config.activation_function,
        norm_eps=config.layer_norm_epsilon,
        biases=BIASES - frozenset("qkv"),
        dropout=config.resid_dropout,
        embed_dropout=config.embed_dropout,
        attention_dropout=config.attention_dropout,
    )


LAYER = "h.{}."
BODY = (
    *table("", "", "embed.token=wte embed.position=wpe norm=ln_f"),
    *table("layers.{}.attention.", LAYER + "attn.attention.", "q=q_proj k=k_proj v=v_proj o=out_proj"),
    *table("layers.{}.", LAYER, "attention_norm=ln_1 ffn_norm=ln_2 ffn.up=mlp.c_fc ffn.down=mlp.c_proj"),
)
BUFFERS = (r"\.attn\.attention\.(bias|masked_bias)$",)

GPT_NEO = causal_family(
    GPTNeoConfig, "GPTNeo", read, BODY, cross=cross_rows(LAYER), prefix="transformer.", buffers=BUFFERS
)
FAMILIES = (GPT_NEO,)
