"""What a rule is."""

from collections.abc import Callable
from typing import Any

__all__ = ["LOW", "Rule", "never"]

Array = Any
Rule = Callable[[Array, Any, Array], Array]  # (ids (B, K, L), length, scores (B, K, V)) -> scores
LOW = float("-inf")


def never(ops: Any, when: Any) -> bool:
    """Whether a condition holds nowhere now, so that a rule need not write all scores anew. A compiled program cannot ask."""
    if isinstance(when, bool):
        return not when
    return not ops.FIXED_SHAPES and bool(ops.all_true(~when))
