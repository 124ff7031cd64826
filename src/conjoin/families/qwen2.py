"""Qwen 2 (https://arxiv.org/abs/2407.10671): Llama with three biases; layers from `max_window_layers` on may have a window."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.gated import gated_stack
from conjoin.families.shared.llama_rows import gated_family
from conjoin.families.shared.windowed import WindowedConfig
from conjoin.families.shared.windows import FULL, SLIDING
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "QWEN2", "Qwen2Config"]


@config_class
@dataclass(kw_only=True)
class Qwen2Config(WindowedConfig):
    """Sizes and settings of a Qwen 2 or 2.5, with transformers' names and defaults."""

    model_type: ClassVar[str] = "qwen2"

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 32768
    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int | None = 28  # 0 is a value, too
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def usual_type(self, layer: int) -> str:
        """The last layers have a window."""
        windowed = self.use_sliding_window and self.sliding_window is not None
        return SLIDING if windowed and layer >= (self.max_window_layers or 0) else FULL


def read(config: Qwen2Config) -> StackSpec:
    """Llama's facts, with three biases."""
    return gated_stack(config, "q k v", reaches=config.reaches())


QWEN2 = gated_family(Qwen2Config, "Qwen2", read)
FAMILIES = (QWEN2,)
