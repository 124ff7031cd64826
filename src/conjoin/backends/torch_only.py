"""What a backend other than PyTorch's has of models in whole numbers, which run there alone: nothing."""

from collections.abc import Iterable
from typing import Any

__all__ = ["NARROW_TYPES", "narrow_tensors"]

NARROW_TYPES: tuple[str, ...] = ()


def narrow_tensors(model: Any, gone: Iterable[str]) -> None:
    """No model is in whole numbers here."""
    return
