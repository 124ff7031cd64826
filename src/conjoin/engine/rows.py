"""Log-probabilities and the largest of many numbers, by the engine's kernels. Arrays are NumPy's, in float32."""

import threading
from functools import lru_cache
from typing import Any

import numpy as np

from conjoin.engine.arrays import Array, empty
from conjoin.engine.machine import has_kernels

__all__ = ["best", "log_softmax", "suits"]

WIDE = 8192  # numbers from which on the kernels are worth their call
MOST = 64  # of the largest


def suits(width: int, size: int, k: int = 1) -> bool:
    """Whether the kernels run here, and so many numbers, in rows of a width, are worth calling them for their k largest."""
    return width >= WIDE and size > 0 and k <= MOST and has_kernels()


def log_softmax(x: Array, threads: int) -> Array:
    """(..., V) -> log-probabilities in float32."""
    width, out = x.shape[-1], empty(x.shape)
    run(row_program("LOG_SOFTMAX", width, 0), x, out.reshape(-1, width), threads)
    return out


def best(x: Array, k: int, threads: int) -> tuple[Array, Array]:
    """(..., V) -> the k largest, in order, and where they are (..., k)."""
    width = x.shape[-1]
    out = empty((x.size // width, 2 * k))
    run(row_program("BEST", width, k), x, out, threads)
    values, places = out[:, :k], np.ascontiguousarray(out[:, k:]).view(np.int32).astype(np.int64)
    return values.reshape(*x.shape[:-1], k), places.reshape(*x.shape[:-1], k)


def run(program: Any, x: Array, out: Array, threads: int) -> None:
    """Runs a program over rows."""
    from conjoin.engine.kernels.team import team_of

    closed, lock = program
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
    with lock:
        closed.run(rows, out, len(rows), 4 * 1024, team_of(threads))


@lru_cache(maxsize=64)
def row_program(name: str, width: int, count: int) -> Any:
    """A program of one operation, and its lock."""
    from conjoin.engine.kernels.layout import Code
    from conjoin.engine.program import Program

    program = Program(0)
    x = program.buffer(width)
    out = program.buffer(2 * count if count else width)
    program.add(Code[name], [x, out], [width, count] if count else [width])
    return program.close(out), threading.Lock()
