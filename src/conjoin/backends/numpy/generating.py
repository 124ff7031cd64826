"""How a search runs in NumPy: step by step, finished rows leaving the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from conjoin.decoding.loop import in_lanes, lanes_for, run

__all__ = ["CALLS_BACK", "FIXED_SHAPES", "as_loop_array", "executed", "in_lanes", "lanes_for", "programs", "run"]

FIXED_SHAPES = False
CALLS_BACK = True  # whether steps call what a user gave


def executed(decoded: Callable[..., Any], model: Any, settings: Any, call: Any, noise: Any) -> dict[str, Any]:
    """Runs the program of a call, step by step."""
    (run_program,) = model.ops.programs(model, settings, noise, decoded)
    found: dict[str, Any] = run_program(call.arrays())
    return found


def programs(model: Any, settings: Any, noise: Any, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing) as functions of (arrays, *changing): called as they are."""

    def program(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_program(*arrays: Any) -> Any:
            with np.errstate(all="ignore"):  # forbidden tokens are infinite, and no framework warns of them
                return function(model.ops, model, settings, noise, *arrays)

        return run_program

    return [program(function) for function in functions]


def as_loop_array(value: Any) -> Any:
    """What a step hands to the next, as it is."""
    return value
