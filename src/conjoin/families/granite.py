"""Granite: Llama with four multipliers, of embeddings, scores, residuals and logits (https://arxiv.org/abs/2405.04324)."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.llama import LlamaConfig
from conjoin.families.shared.gated import biases, gated_stack
from conjoin.families.shared.llama_rows import gated_family
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "GRANITE", "GraniteConfig"]


@config_class
@dataclass(kw_only=True)
class GraniteConfig(LlamaConfig):
    """Sizes and settings of a Granite, with transformers' names and defaults."""

    model_type: ClassVar[str] = "granite"

    embedding_multiplier: float = 1.0
    attention_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0


def read(config: GraniteConfig) -> StackSpec:
    """Llama's facts, and the multipliers."""
    return gated_stack(
        config,
        biases(config),
        embed_scale=config.embedding_multiplier,
        score_scale=config.attention_multiplier,
        residual_scale=config.residual_multiplier,
        logit_scale=1.0 / config.logits_scaling,
    )


GRANITE = gated_family(GraniteConfig, "Granite", read)
FAMILIES = (GRANITE,)
