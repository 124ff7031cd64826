"""How kernels are compiled: without Python's lock, kept on disk where that can be written."""

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]

# Sums may be taken in any order that vectorises; infinities, which masks are made of, stay what they are.
FAST = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel of a function, compiled at its first call."""
    try:
        return njit(nogil=True, fastmath=FAST, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(nogil=True, fastmath=FAST)(function)
