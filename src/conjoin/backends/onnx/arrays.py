"""Array operations of what ONNX Runtime holds too."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conjoin.backends.onnx.graphs import Held

__all__ = ["concat", "is_array", "take_rows", "take_slots"]

Array = np.ndarray[Any, Any]


def concat(arrays: Sequence[Any], axis: int) -> Array:
    """One after another along an axis."""
    return np.concatenate([x.numpy() if isinstance(x, Held) else x for x in arrays], axis)


def take_rows(x: Any, index: Array) -> Any:
    """Some rows."""
    return Held.of(x.numpy()[index]) if isinstance(x, Held) else x[index]


def take_slots(x: Any, index: Array, used: int) -> Any:
    """Some rows of a cache, which here has no slots that are not used."""
    return take_rows(x, index)


def is_array(x: Any) -> bool:
    """Whether it has rows."""
    return isinstance(x, np.ndarray | Held)
