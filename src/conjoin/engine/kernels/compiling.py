"""How kernels are compiled: without Python's lock, and kept on disk, beside this file or where Numba keeps such things.

Numba makes machine code of every function by itself, and optimises it again in each that calls it. Here only what is entered from
outside becomes machine code, by one pass of LLVM over it and all that it calls, when it is first wanted.
"""

import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from numba import cfunc, njit, types
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

__all__ = ["Kernel", "called_from_python", "compiled"]

# Sums may be taken in any order that vectorises; infinities, which masks are made of, stay what they are.
FAST = {"reassoc", "contract", "nsz", "arcp"}
SIGNATURE = types.int64(*[types.int64] * 7)  # of a kernel that programs call
LOCK = threading.Lock()


def forget_old_code(folder: Path) -> None:
    """Removes what was compiled before any kernel changed: Numba itself looks only at the file that a kernel is in."""
    newest = max(path.stat().st_mtime for path in folder.glob("*.py"))
    try:
        kept = Path(FunctionCache(forget_old_code).cache_path).glob("*.nb?")
    except RuntimeError:  # there is no folder to keep it in
        return
    for path in [path for path in kept if path.stat().st_mtime < newest]:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # a folder of somebody else's, with code that is older still
            return


forget_old_code(Path(__file__).parent)


class NoEnvironment:
    """Numba's constants of a function, for what it would raise; a part raises nothing."""

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing: a part's variables are nowhere."""


class Part(JITCodeLibrary):  # type: ignore[misc]
    """LLVM's code of a function that only others call: as it was written, to be optimised with them."""

    @property
    def codegen(self) -> Any:
        """What sets constants once there is machine code."""
        return NoEnvironment()

    def get_pointer_to_function(self, name: str) -> int:
        """None: there is no machine code."""
        self._ensure_finalized()
        return 0

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class PartLowering(NativeLowering):  # type: ignore[misc]
    """Numba's pass to LLVM's code, into a Part."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """As NativeLowering's."""
        state.library = Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


class PartCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's compiler, that makes Parts."""

    def define_pipelines(self) -> list[Any]:
        """Its own passes, but for that one."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [(PartLowering if each is NativeLowering else each, text) for each, text in passes.passes]
        passes.finalize()
        return [passes]


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel of a function, for other kernels to call: compiled with the one that is entered."""
    wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(nogil=True, fastmath=FAST, pipeline_class=PartCompiler, **wrappers)(function)


def called_from_python(function: Callable[..., Any]) -> Any:
    """The kernel that Python calls, compiled at its first call with all that it is made of, and kept."""
    try:
        return njit(nogil=True, fastmath=FAST, cache=True)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(nogil=True, fastmath=FAST)(function)


class Kernel:
    """What an operation of a program does, called by its address.

    (operation, its real numbers, buffers, facts, thread, threads, turns) -> turns: all are whole numbers, the first four the
    addresses of tables (see `Program`), `turns` how many barriers the thread has passed.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @property
    def address(self) -> int:
        """Where its machine code is, compiled when this is first asked for, and kept."""
        with LOCK:
            return int(self.code.address)

    @cached_property
    def code(self) -> Any:
        """Its machine code."""
        try:
            return cfunc(SIGNATURE, fastmath=FAST, cache=True)(self.function)
        except RuntimeError:  # no folder to keep it in
            return cfunc(SIGNATURE, fastmath=FAST)(self.function)
