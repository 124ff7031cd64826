"""Random numbers for sampling in NumPy, and the loop of a search."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conjoin.errors import InputError

__all__ = ["FIXED_SHAPES", "as_loop_array", "executed", "noise", "programs", "run"]

FIXED_SHAPES = False
Array = np.ndarray[Any, Any]


def noise(seed: int | None, batch: int, count: int) -> Callable[[Array, int, Array], Array]:
    """A source of exponential noise for drawing tokens: (row (B,), length, scores) -> noise that broadcasts to scores.

    With a seed, the noise of a step is the same for every source, so that what one draws does not depend on others.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise InputError(f"seed is {seed!r}; a whole number was expected.")
    draws = np.random.default_rng(seed)

    def drawn(row: Array, length: int, scores: Array) -> Array:
        rows = len(scores) if seed is None else 1
        return draws.standard_exponential((rows, *scores.shape[1:]), np.float32)

    return drawn


def executed(
    decoded: Callable[..., Any], model: Any, settings: Any, call: Any, noise: Any
) -> tuple[Array, Array | None, int]:
    """Runs the program of a call, step by step."""
    (run_program,) = programs(model, settings, noise, decoded)
    ids, scores, longest = run_program(call.arrays())
    return ids, scores, int(longest)


def programs(model: Any, settings: Any, noise: Any, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing) as functions of (arrays, *changing): called as they are."""
    from conjoin.backends import onnx as ops

    def program(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arrays: function(ops, model, settings, noise, *arrays)

    return [program(function) for function in functions]


def run(choose: Callable[[Any], Any], advance: Callable[[Any], Any], state: Any) -> list[Any]:
    """The loop in Python, finished rows leaving the batch."""
    from conjoin.backends import onnx as ops
    from conjoin.decoding.loop import run as stepwise

    return stepwise(ops, choose, advance, state)


def as_loop_array(value: Any) -> Any:
    """What a step hands to the next, as it is."""
    return value
