"""What a rule is."""

from collections.abc import Callable
from typing import Any

__all__ = ["LOW", "Rule"]

Array = Any
Rule = Callable[[Array, Any, Array], Array]  # (ids (B, K, L), length, scores (B, K, V)) -> scores
LOW = float("-inf")
