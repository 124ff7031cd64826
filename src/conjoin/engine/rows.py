"""Log-probabilities and the largest of many numbers, by the engine's kernels. Arrays are NumPy's, in float32."""

from functools import lru_cache
from typing import Any

import numpy as np

from conjoin.engine.arrays import Array, address, empty
from conjoin.engine.machine import has_kernels

__all__ = ["best", "best_of_logits", "log_softmax", "scratch_for", "suits", "values_and_places"]

WIDE = 8192  # numbers from which on the kernels are worth their call
MOST = 64  # of the largest
GLANCE = 256  # numbers of which the kernels keep the largest
SCRATCH = 1024  # numbers that they need beside


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
    return found("BEST", x, k, threads)


def best_of_logits(logits: Array, forbidden: Array, k: int, threads: int) -> tuple[Array, Array]:
    """(..., V) -> the k largest log-probabilities, in order, and where they are (..., k).

    Without those of forbidden tokens (..., N), -1 for none, which are probabilities all the same. Where rows are one row
    several times, as beams are before their first token, it is looked at once.
    """
    if logits.shape[-2] > 1 and logits.strides[-2] == 0 and (forbidden == forbidden[..., :1, :]).all():
        values, places = best_of_logits(logits[..., :1, :], forbidden[..., :1, :], k, threads)
        shape = (*logits.shape[:-1], k)
        return np.broadcast_to(values, shape), np.broadcast_to(places, shape)
    return found("CHOOSE", logits, k, threads, np.ascontiguousarray(forbidden, np.int32))


def found(name: str, x: Array, k: int, threads: int, forbidden: Array | None = None) -> tuple[Array, Array]:
    """Values and places (..., k) that an operation finds."""
    width = x.shape[-1]
    out = empty((x.size // width, 2 * k))
    run(row_program(name, width, k), x, out, threads, forbidden)
    return values_and_places(out, k, x.shape[:-1])


def values_and_places(out: Array, k: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """(*shape, k) each, of what an operation found: the k values of a row, then their places as int32."""
    values, places = out[:, :k], np.ascontiguousarray(out[:, k:]).view(np.int32).astype(np.int64)
    return values.reshape(*shape, k), places.reshape(*shape, k)


def scratch_for(width: int, forbids: int) -> int:
    """Bytes that the choice of a row's best needs for each thread."""
    return 4 * (SCRATCH + width // GLANCE + forbids)


def run(pool: Any, x: Array, out: Array, threads: int, forbidden: Array | None = None) -> None:
    """Runs a program of a pool over rows."""
    from conjoin.engine.kernels.layout import Fact
    from conjoin.engine.kernels.team import team_of

    rows, forbids = np.ascontiguousarray(x).reshape(-1, x.shape[-1]), 0 if forbidden is None else forbidden.shape[-1]
    with pool.borrowed() as closed:
        if forbidden is not None:
            closed.facts[[Fact.FORBIDDEN, Fact.FORBIDDEN + 1]] = address(forbidden), forbids
        closed.run(rows, out, len(rows), scratch_for(x.shape[-1], forbids), team_of(threads))


@lru_cache(maxsize=64)
def row_program(name: str, width: int, count: int) -> Any:
    """A program of one operation, in a pool."""
    from conjoin.engine.kernels.layout import Code
    from conjoin.engine.pool import Pool
    from conjoin.engine.program import Program

    program = Program(0)
    x = program.buffer(width)
    out = program.buffer(2 * count if count else width)
    program.add(Code[name], [x, out], [width, count] if count else [width])
    return Pool(program.close(out))
