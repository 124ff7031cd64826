"""SmolLM 3: Llama with rotary positions in three layers of four (https://arxiv.org/abs/2501.18795)."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.gated import biases, gated_stack
from conjoin.families.shared.llama_rows import gated_family
from conjoin.families.shared.no_rope import NoRopeConfig
from conjoin.families.shared.rope import rotary
from conjoin.families.shared.windows import FULL, SLIDING
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "SMOLLM3", "SmolLM3Config"]


@config_class
@dataclass(kw_only=True)
class SmolLM3Config(NoRopeConfig):
    """Sizes and settings of a SmolLM 3, with transformers' names and defaults."""

    model_type: ClassVar[str] = "smollm3"

    vocab_size: int = 128256
    hidden_size: int = 2048
    num_hidden_layers: int = 36
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 4
    hidden_act: str = "silu"
    max_position_embeddings: int = 32768
    rope_theta: float | None = 2_000_000.0
    use_sliding_window: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 128004
    bos_token_id: int | None = 128000
    eos_token_id: int | list[int] | None = 128001

    def usual_type(self, layer: int) -> str:
        """Layers without rotary positions may have a window."""
        windowed = self.use_sliding_window and self.sliding_window is not None
        return SLIDING if windowed and not self.turning()[layer] else FULL


def read(config: SmolLM3Config) -> StackSpec:
    """Llama's facts, with rotary positions where the config has them."""
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    turn = rotary(config, size)
    turns = tuple(turn if one else None for one in config.turning())
    return gated_stack(config, biases(config), reaches=config.reaches(), rotary=turns)


SMOLLM3 = gated_family(SmolLM3Config, "SmolLM3", read)
FAMILIES = (SMOLLM3,)
