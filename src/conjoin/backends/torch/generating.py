"""Random numbers for sampling in PyTorch, and the state that a model generates in."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from conjoin.errors import InputError
from torch import Tensor
from torch.nn import Module

__all__ = [
    "FIXED_SHAPES",
    "ReadyModel",
    "as_loop_array",
    "at_rest",
    "executed",
    "no_gradients",
    "noise",
    "programs",
    "run",
]

FIXED_SHAPES = False


def noise(seed: int | None, batch: int, count: int) -> Callable[[Tensor, int, Tensor], Tensor]:
    """A source of exponential noise for drawing tokens: (row (B,), length, scores) -> noise that broadcasts to scores.

    Without a seed, torch's global state is drawn from for every row of the call, so that what is drawn does not depend
    on which rows have left; token for token as `torch.multinomial` would. With one, the noise of a step is the same for
    every source, and differs between hypotheses: what a source draws does not depend on its neighbours.
    """
    if seed is None:

        def shared_state(row: Tensor, length: int, scores: Tensor) -> Tensor:
            return torch.empty(batch, *scores.shape[1:], device=scores.device).exponential_().index_select(0, row)

        return shared_state
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed is {seed!r}; a whole number was expected.")
    generators: dict[torch.device, torch.Generator] = {}

    def own_state(row: Tensor, length: int, scores: Tensor) -> Tensor:
        if scores.device not in generators:
            generators[scores.device] = torch.Generator(scores.device).manual_seed(seed)
        empty = torch.empty(1, *scores.shape[1:], device=scores.device)
        return empty.exponential_(generator=generators[scores.device])

    return own_state


@contextlib.contextmanager
def at_rest(model: Module) -> Iterator[None]:
    """A model that drops nothing out, and afterwards trains where it did."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was


@contextlib.contextmanager
def no_gradients(model: Module) -> Iterator["ReadyModel"]:
    """Generation keeps nothing for a backward pass, drops nothing out, and runs on the fastest decoder there is."""
    from conjoin.engine.packed import packed_twin

    with at_rest(model), torch.inference_mode():
        yield ReadyModel(model, packed_twin(model.encoder), packed_twin(model.decoder))


@dataclass(frozen=True)
class ReadyModel:
    """A joined model with the parts that generation runs on."""

    joined: Any
    encoder: Any
    decoder: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.joined, name)


def executed(
    decoded: Callable[..., Any], model: Module, settings: Any, call: Any, noise: Any
) -> tuple[Tensor, Tensor | None, int]:
    """Runs the program of a call, step by step, and gives ordinary tensors, which autograd takes."""
    (run_program,) = programs(model, settings, noise, decoded)
    ids, scores, longest = run_program(call.arrays())
    return ids.clone(), None if scores is None else scores.clone(), int(longest)


def programs(model: Module, settings: Any, noise: Any, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing) as functions of (arrays, *changing): called as they are."""
    from conjoin.backends import torch as ops

    def program(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_program(*arrays: Any) -> Any:
            with no_gradients(model) as ready:
                return function(ops, ready, settings, noise, *arrays)

        return run_program

    return [program(function) for function in functions]


def run(choose: Callable[[Any], Any], advance: Callable[[Any], Any], state: Any) -> list[Any]:
    """The loop in Python, finished rows leaving the batch."""
    from conjoin.backends import torch as ops
    from conjoin.decoding.loop import run as stepwise

    return stepwise(ops, choose, advance, state)


def as_loop_array(value: Any) -> Any:
    """What a step hands to the next, as it is."""
    return value
