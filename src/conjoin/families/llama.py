"""Llama (https://arxiv.org/abs/2302.13971): a causal stack of RMS norms, rotary positions and gated feed-forwards."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.gated import GatedConfig, biases, gated_stack
from conjoin.families.shared.llama_rows import gated_family
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "LLAMA", "LlamaConfig"]


@config_class
@dataclass(kw_only=True)
class LlamaConfig(GatedConfig):
    """Sizes and settings of a Llama, with transformers' names and defaults."""

    model_type: ClassVar[str] = "llama"

    hidden_act: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False


def read(config: LlamaConfig) -> StackSpec:
    """Llama's facts; causal on either side."""
    return gated_stack(config, biases(config))


LLAMA = gated_family(LlamaConfig, "Llama", read)
FAMILIES = (LLAMA,)
