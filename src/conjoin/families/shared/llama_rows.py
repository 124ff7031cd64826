"""The names of Llama's tensors, which its relatives share, and how a family of its kind is made."""

from typing import Any

from conjoin.families.shared.causal import causal_family, cross_rows
from conjoin.spec import Family, table

__all__ = ["BODY", "NORMS", "OUTER", "PRODUCTS", "gated_family"]

PRODUCTS = table(
    "layers.{}.",
    "layers.{}.",
    "attention.q=self_attn.q_proj attention.k=self_attn.k_proj attention.v=self_attn.v_proj attention.o=self_attn.o_proj "
    "ffn.gate=mlp.gate_proj ffn.up=mlp.up_proj ffn.down=mlp.down_proj",
)
NORMS = table("layers.{}.", "layers.{}.", "attention_norm=input_layernorm ffn_norm=post_attention_layernorm")
LAYER = (*PRODUCTS, *NORMS)
OUTER = table("", "", "embed.token=embed_tokens norm=norm")
BODY = (*OUTER, *LAYER)


def gated_family(config: type[Any], name: str, read: Any, body: Any = BODY) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`."""
    return causal_family(config, name, read, body, cross=cross_rows())
