"""LongRoPE (https://arxiv.org/abs/2402.13753) as Phi 3 has it, for texts of the length that it was first trained on."""

import math
from typing import Any

from conjoin.errors import ConfigError
from conjoin.spec import Rotary

__all__ = ["LONG", "long_rope"]

LONG = ("longrope", "su", "yarn")  # the same by three names


def long_rope(config: Any, size: int) -> Rotary:
    """The positions of heads of `size` numbers, each pair slowed by a factor of its own.

    Raises ConfigError where there are not as many factors as pairs.
    """
    rope = config.rope()
    turning = int(size * rope["partial_rotary_factor"])
    slower = rope.get("short_factor")
    if not isinstance(slower, list) or len(slower) != turning // 2:
        raise ConfigError(
            f'{config.model_type}: "short_factor" of rope_scaling is {slower!r}; {turning // 2} numbers were expected.'
        )
    base, original = float(rope.get("rope_theta", 10000.0)), config.original_max_position_embeddings
    factor = rope.get("factor") or config.max_position_embeddings / original
    scale = rope.get("attention_factor")
    if scale is None:
        scale = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    return Rotary(tuple(base ** (-2 * i / turning) / one for i, one in enumerate(slower)), scale=float(scale))
