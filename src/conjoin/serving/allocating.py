"""How the process gets memory: kept for the next step rather than given back to the system after each."""

import ctypes
import sys

__all__ = ["keep_memory"]

# Of glibc's mallopt: from which size on memory is mapped anew, above which size free memory is given back, and how many arenas.
MAP_FROM, GIVE_BACK_FROM, ARENAS = -3, -1, -8
LARGEST = 32 << 20  # bytes that glibc takes for the first
KEPT = 1 << 30


def keep_memory() -> None:
    """Lets blocks of megabytes, of which a step takes several, come from what earlier steps had.

    The system would otherwise map and clear each of their pages at every step. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    try:
        tell = library.mallopt
    except AttributeError:
        return
    tell(ARENAS, 1)
    tell(MAP_FROM, LARGEST)
    tell(GIVE_BACK_FROM, KEPT)
