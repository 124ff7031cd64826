"""Mistral (https://arxiv.org/abs/2310.06825): Llama with attention to a sliding window."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.gated import GatedConfig, gated_stack
from conjoin.families.shared.llama_rows import gated_family
from conjoin.families.shared.windows import reach
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "MISTRAL", "MistralConfig"]


@config_class
@dataclass(kw_only=True)
class MistralConfig(GatedConfig):
    """Sizes and settings of a Mistral, with transformers' names and defaults."""

    model_type: ClassVar[str] = "mistral"

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096 * 32
    sliding_window: int | None = 4096


def read(config: MistralConfig) -> StackSpec:
    """Llama's facts, and the window."""
    return gated_stack(config, reaches=(reach(config.sliding_window),) * config.num_hidden_layers)


MISTRAL = gated_family(MistralConfig, "Mistral", read)
FAMILIES = (MISTRAL,)
