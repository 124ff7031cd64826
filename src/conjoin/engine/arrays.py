"""Arrays as the kernels read them: NumPy's, that begin with a cache line, and where they lie.

bfloat16 numbers, which NumPy does not know, are the uint16 whose bits they have.
"""

import sys
import threading
from typing import Any

import numpy as np

__all__ = ["LINE", "Array", "Reused", "address", "contiguous", "empty", "wide", "zeros"]

Array = np.ndarray[Any, Any]
LINE = 64  # bytes of a cache line
HALF = 16  # bits that float32 has more than bfloat16


def address(x: Array) -> int:
    """Where an array's first number lies."""
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]


def zeros(shape: tuple[int, ...], kind: Any = np.float32) -> Array:
    """Zeros that begin with a cache line."""
    return in_line(np.zeros, shape, np.dtype(kind))


def empty(shape: tuple[int, ...], kind: Any = np.float32) -> Array:
    """Room that begins with a cache line."""
    return in_line(np.empty, shape, np.dtype(kind))


def in_line(make: Any, shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    """An array of bytes, cut so that it begins with a cache line."""
    size = int(np.prod(shape)) * kind.itemsize
    whole: Array = make(size + LINE, np.uint8)
    skip = -address(whole) % LINE
    return whole[skip : skip + size].view(kind).reshape(shape)


class Reused:
    """Room that is given again once nobody holds what was made of it: fresh memory costs a page fault every 4 kB."""

    MOST = 4  # pieces that are kept
    LARGEST = 8_000_000  # numbers of a piece that is

    def __init__(self) -> None:
        self.kept: list[Array] = []
        self.lock = threading.Lock()

    def empty(self, shape: tuple[int, ...]) -> Array:
        """As `empty`, in float32."""
        size = int(np.prod(shape))
        if size > self.LARGEST:
            return empty(shape)
        with self.lock:
            free = (one for one in self.kept if one.size >= size and is_free(one))
            found = next(free, None)
            if found is None:
                found = empty((size,))
                self.kept = [*self.kept[1 - self.MOST :], found]
            return found[:size].reshape(shape)


def is_free(one: Array) -> bool:
    """Whether no other array lies in the memory that one lies in: it alone, and this question, refer to it."""
    return sys.getrefcount(one.base) == 2


def contiguous(x: Array) -> Array:
    """Numbers in one piece, in float32."""
    return np.ascontiguousarray(wide(x))


def wide(x: Array) -> Array:
    """Numbers in float32."""
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << HALF).view(np.float32)
    return x.astype(np.float32, copy=False)
