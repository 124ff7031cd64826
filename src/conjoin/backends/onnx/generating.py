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


def executed(decoded: Callable[..., Any], model: Any, settings: Any, call: Any, noise: Any) -> dict[str, Any]:
    """Runs the program of a call, step by step."""
    (run_program,) = programs(model, settings, noise, decoded)
    found: dict[str, Any] = run_program(call.arrays())
    return found


def programs(model: Any, settings: Any, noise: Any, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing) as functions of (arrays, *changing): called as they are.

    Raises InputError for what cannot be done with graphs.
    """
    from conjoin.backends import onnx as ops

    refuse(settings)

    def program(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_program(*arrays: Any) -> Any:
            with np.errstate(all="ignore"):  # forbidden tokens are infinite, and no framework warns of them
                return function(ops, model, settings, noise, *arrays)

        return run_program

    return [program(function) for function in functions]


def refuse(settings: Any) -> None:
    """Raises InputError for a search that reads what a graph does not give, or that PyTorch has alone."""
    for name, asked, why in (
        ("penalty_alpha", settings.search == "contrastive", "contrastive search compares hidden states"),
        ("prompt_lookup_num_tokens or assistant_model", settings.drafts, "drafts are checked by PyTorch's model alone"),
        ("watermarking_config", settings.watermarking is not None, "its random numbers are torch's"),
    ):
        if asked:
            raise InputError(
                f"{name} came and the model is an exported one: {why}; use EncoderDecoderModel, from the folder that was "
                f"exported."
            )


def run(choose: Callable[[Any], Any], advance: Callable[[Any], Any], state: Any) -> list[Any]:
    """The loop in Python, finished rows leaving the batch."""
    from conjoin.backends import onnx as ops
    from conjoin.decoding.loop import run as stepwise

    return stepwise(ops, choose, advance, state)


def as_loop_array(value: Any) -> Any:
    """What a step hands to the next, as it is."""
    return value
