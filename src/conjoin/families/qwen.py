"""Qwen 2 (https://arxiv.org/abs/2407.10671) and Qwen 3 (https://arxiv.org/abs/2505.09388): Llamas of their own kinds.

Qwen 2 has biases of queries, keys and values; Qwen 3 norms each head's queries and keys. In both, layers from
`max_window_layers` on may attend to a sliding window.
"""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.llama import BODY, gated_family, gated_stack
from conjoin.families.windows import FULL, SLIDING, WindowedConfig
from conjoin.spec import StackSpec, table

__all__ = ["FAMILIES", "QWEN2", "QWEN3", "Qwen2Config", "Qwen3Config"]


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


@config_class
@dataclass(kw_only=True)
class Qwen3Config(Qwen2Config):
    """Sizes and settings of a Qwen 3, with transformers' names and defaults."""

    model_type: ClassVar[str] = "qwen3"

    head_dim: int | None = 128
    attention_bias: bool = False


def read_qwen2(config: Qwen2Config) -> StackSpec:
    """Llama's facts, with three biases."""
    return gated_stack(config, "q k v", reaches=config.reaches())


def read_qwen3(config: Qwen3Config) -> StackSpec:
    """Llama's facts, with norms of queries and keys."""
    biases = "q k v o" * config.attention_bias
    return gated_stack(config, biases, reaches=config.reaches(), query_key_norm=True)


HEAD_NORMS = table("layers.{}.attention.", "layers.{}.self_attn.", "q_norm=q_norm k_norm=k_norm")

QWEN2 = gated_family(Qwen2Config, "Qwen2", read_qwen2)
QWEN3 = gated_family(Qwen3Config, "Qwen3", read_qwen3, (*BODY, *HEAD_NORMS))
FAMILIES = (QWEN2, QWEN3)
