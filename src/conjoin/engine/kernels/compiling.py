"""How kernels are compiled: without Python's lock, and kept on disk, beside this file or where Numba keeps such things."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

__all__ = ["called_from_python", "compiled"]

# Sums may be taken in any order that vectorises; infinities, which masks are made of, stay what they are.
FAST = {"reassoc", "contract", "nsz", "arcp"}


def forget_old_code(folder: Path) -> None:
    """Removes what was compiled before any kernel changed: Numba itself looks only at the file that a kernel is in."""
    newest = max(path.stat().st_mtime for path in folder.glob("*.py"))
    kept = [path for path in (folder / "__pycache__").glob("*.nb?") if path.stat().st_mtime < newest]
    for path in kept:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # a folder of somebody else's, with code that is older still
            return


forget_old_code(Path(__file__).parent)


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel of a function, for other kernels to call: compiled with the one that Python calls."""
    return njit(nogil=True, fastmath=FAST, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def called_from_python(function: Callable[..., Any]) -> Any:
    """The kernel that Python calls, compiled at its first call with all that it is made of, and kept."""
    try:
        return njit(nogil=True, fastmath=FAST, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(nogil=True, fastmath=FAST)(function)
