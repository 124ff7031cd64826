"""The step under torch.compile, and in one sentence why it cannot be compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch

from conjoin.compiling import CompileConfig
from conjoin.errors import ConjoinError, InputError

__all__ = ["compiled", "explained"]

# Modes that bring CUDA graphs of their own, which cannot stand within ours, and the same without them.
WITHOUT_GRAPHS = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}


def compiled(step: FunctionType, config: CompileConfig) -> Callable[..., Any]:
    """A step compiled for the shapes of its first call, which raises ConjoinError where it cannot be.

    Raises InputError for a backend that is not there, and for options that it does not know.
    """
    mode = WITHOUT_GRAPHS.get(config.mode, config.mode) if config.backend == "inductor" else None
    try:
        run: Callable[..., Any] = torch.compile(
            anew(step),
            fullgraph=True,
            dynamic=False,
            backend=config.backend,
            mode=None if config.options else mode,
            options=config.options,
        )
    except RuntimeError as error:
        raise InputError(f"compile_config is nothing that torch.compile takes: {error}") from None

    def explained_run(*given: Any) -> Any:
        with explained("the step", "leave compile_config out"):
            return run(*given)

    return explained_run


def anew(step: FunctionType) -> FunctionType:
    """The same function with a code object of its own: torch counts what it compiles of one, and stops at eight."""
    return FunctionType(step.__code__.replace(), step.__globals__, step.__name__)


@contextmanager
def explained(what: str, instead: str) -> Iterator[None]:
    """Says in one sentence why torch.compile failed, and what to do instead. Raises ConjoinError then."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        said = " ".join(str(error).partition("Set TORCHDYNAMO_VERBOSE")[0].split())[:200]
        raise ConjoinError(f"{what} cannot be compiled here ({said}); {instead}.") from None
