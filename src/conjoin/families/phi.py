"""Phi 1 and 2 (https://arxiv.org/abs/2306.11644): attention and feed-forward side by side, after one norm."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.causal import HEAD, causal_family, cross_rows
from conjoin.families.shared.partial_rope import PartialConfig, partial_stack
from conjoin.spec import StackSpec, row, table

__all__ = ["FAMILIES", "PHI", "PhiConfig"]


@config_class
@dataclass(kw_only=True)
class PhiConfig(PartialConfig):
    """Sizes and settings of a Phi, with transformers' names and defaults."""

    model_type: ClassVar[str] = "phi"

    vocab_size: int = 51200
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_hidden_layers: int = 24
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    hidden_act: str = "gelu_new"
    partial_rotary_factor: float = 0.5
    qk_layernorm: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2


def read(config: PhiConfig) -> StackSpec:
    """Phi's facts; causal on either side."""
    return partial_stack(
        config,
        kv_heads=config.num_key_value_heads or config.num_attention_heads,
        parallel="one_norm",
        query_key_norm=config.qk_layernorm,
        dropout=config.resid_pdrop,
        embed_dropout=config.embd_pdrop,
        head_bias="trained" if config.is_decoder else "none",
    )


BODY = (
    *table("", "", "embed.token=embed_tokens norm=final_layernorm"),
    *table(
        "layers.{}.",
        "layers.{}.",
        "attention.q=self_attn.q_proj attention.k=self_attn.k_proj attention.v=self_attn.v_proj "
        "attention.q_norm=self_attn.q_layernorm attention.k_norm=self_attn.k_layernorm "
        "attention.o=self_attn.dense attention_norm=input_layernorm ffn.up=mlp.fc1 ffn.down=mlp.fc2",
    ),
)
BIASED_HEAD = (*HEAD, row("head.bias", "lm_head.bias", rooted=True))

PHI = causal_family(PhiConfig, "Phi", read, BODY, cross=cross_rows(), head=BIASED_HEAD)
FAMILIES = (PHI,)
