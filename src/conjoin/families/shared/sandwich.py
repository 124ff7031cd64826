"""What Gemma 2 and 3 have in common: norms before and after each sublayer, windows, capped logits."""

from typing import Any

from conjoin.families.gemma import gemma_stack
from conjoin.families.shared.llama_rows import OUTER, PRODUCTS
from conjoin.spec import StackSpec, table

__all__ = ["BODY", "sandwich_stack"]


def sandwich_stack(config: Any, **facts: Any) -> StackSpec:
    """The facts in common, with further ones."""
    return gemma_stack(
        config,
        norms="sandwich",
        reaches=config.reaches(),
        score_scale=config.query_pre_attn_scalar**-0.5,
        logit_cap=config.final_logit_softcapping or 0.0,
        **facts,
    )


NORMS = table(
    "layers.{}.",
    "layers.{}.",
    "attention_norm=input_layernorm attention_out_norm=post_attention_layernorm "
    "ffn_norm=pre_feedforward_layernorm ffn_out_norm=post_feedforward_layernorm",
)
BODY = (*OUTER, *PRODUCTS, *NORMS)
