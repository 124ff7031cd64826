"""Whether the engine's kernels run on this machine: Linux on x86-64 with AVX-512, and Numba installed."""

import importlib.util
import platform
import sys
from functools import cache

__all__ = ["has_halves", "has_kernels"]

NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512vnni")


@cache
def features() -> frozenset[str]:
    """What the CPU can do, in LLVM's names; nothing where Numba is not installed or the system is another."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or importlib.util.find_spec("numba") is None:
        return frozenset()
    from llvmlite.binding import get_host_cpu_features

    return frozenset(name for name, has in get_host_cpu_features().items() if has)


def has_kernels() -> bool:
    """Whether programs run here."""
    return all(name in features() for name in NEEDED)


def has_halves() -> bool:
    """Whether the CPU multiplies bfloat16 numbers itself; elsewhere the kernels widen them."""
    return has_kernels() and "avx512bf16" in features()
