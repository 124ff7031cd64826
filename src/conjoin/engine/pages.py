"""Memory in pages of 2 MB, where Linux has them: each step reads all weights, and every page has to be looked up."""

import mmap
import sys
import threading
from contextlib import suppress
from typing import Any

import numpy as np

from conjoin.engine.arrays import LINE, Array, address, empty, zeros

__all__ = ["lasting_zeros", "passing"]

PAGE = 1 << 21  # bytes
PIECE = 16 * PAGE  # of address space: a page that nothing was written to takes no memory


class Pieces:
    """Pieces of address space, given out from their beginning to their end; each lasts as long as any array in it."""

    def __init__(self) -> None:
        self.left: Array = np.empty(0, np.uint8)
        self.lock = threading.Lock()

    def zeros(self, size: int) -> Array:
        """So many bytes, from the beginning of a cache line on."""
        room = -(-size // LINE) * LINE
        if room > PIECE // 2:
            return piece(room)[:size]
        with self.lock:
            if len(self.left) < room:
                self.left = piece(PIECE)
            given, self.left = self.left[:size], self.left[room:]
        return given


PIECES = Pieces()


def piece(size: int) -> Array:
    """So many bytes of zeros in large pages, from the beginning of one on."""
    whole = mmap.mmap(-1, size + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without large pages
        whole.madvise(mmap.MADV_HUGEPAGE)
    found = np.frombuffer(whole, np.uint8)
    return found[-address(found) % PAGE :][:size]


def lasting_zeros(shape: tuple[int, ...], kind: Any = np.float32) -> Array:
    """As `zeros`, for what is kept and read again and again."""
    if sys.platform != "linux":
        return zeros(shape, kind)
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    made: Array = PIECES.zeros(size).view(kind).reshape(shape)
    return made


def passing(size: int) -> Array:
    """So many bytes that go back to the system with the last array in them, which what the C library keeps does not always."""
    return piece(size) if sys.platform == "linux" and size >= PAGE else empty((size,), np.uint8)
