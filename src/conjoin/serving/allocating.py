"""How the process gets memory: kept for the next step rather than given back to the system after each, but not for ever."""

import ctypes
import sys
from typing import Any

__all__ = ["give_back", "keep_memory"]

# Of glibc's mallopt: from which size on memory is mapped anew, above which size free memory is given back, and how many arenas.
MAP_FROM, GIVE_BACK_FROM, ARENAS = -3, -1, -8
LARGEST = 32 << 20  # bytes that glibc takes for the first
KEPT = 1 << 30


def keep_memory() -> None:
    """Lets blocks of megabytes, of which a step takes several, come from what earlier steps had.

    The system would otherwise map and clear each of their pages at every step. Does nothing where the C library is not glibc.
    """
    tell = c_function("mallopt")
    if tell is not None:
        tell(ARENAS, 1)
        tell(MAP_FROM, LARGEST)
        tell(GIVE_BACK_FROM, KEPT)


def give_back() -> None:
    """Gives back the pages that nothing stands on, wherever they lie.

    Texts come and leave with blocks of many sizes, whose holes the next do not fill: without this, memory grows for long beyond
    what is in use. Takes some 20 ms. Does nothing where the C library is not glibc.
    """
    trim = c_function("malloc_trim")
    if trim is not None:
        trim(0)


def c_function(name: str) -> Any:
    """A function of glibc; None elsewhere."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
