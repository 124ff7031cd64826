"""Whether the engine's kernels run on this machine, Linux on x86-64 with AVX-512 and Numba, and whether they are wanted."""

import importlib.util
import os
import platform
import sys
from functools import cache

__all__ = ["SWITCH", "has_halves", "has_kernels", "wants_kernels"]

SWITCH = "CONJOIN_ENGINE"  # "framework" for no kernels (or "torch"), "native" for them whatever the size
OFF = ("framework", "torch")
SMALL = 4_000_000  # parameters below which compiling the kernels once costs more than they bring

NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")


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


def wants_kernels(parameters: int) -> bool:
    """Whether a stack of so many parameters is to run on the kernels."""
    wanted = os.environ.get(SWITCH, "")
    return wanted == "native" or (wanted not in OFF and parameters >= SMALL)
