"""Random numbers for sampling in PyTorch, and the state that a model generates in."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from conjoin.decoding.loop import run
from conjoin.engine.memory import unpacked
from conjoin.errors import InputError
from conjoin.seq2seq.cache import DecoderCache
from torch import Tensor
from torch.nn import Module

__all__ = [
    "CALLS_BACK",
    "FIXED_SHAPES",
    "ReadyModel",
    "as_loop_array",
    "at_rest",
    "executed",
    "in_lanes",
    "lanes_for",
    "no_gradients",
    "noise",
    "permutation",
    "programs",
    "ready_for",
    "run",
    "shortened",
    "speculated",
]

FIXED_SHAPES = False
CALLS_BACK = True  # whether steps call what a user gave


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
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def no_gradients(model: Module) -> Iterator[None]:
    """Generation keeps nothing for a backward pass, and drops nothing out."""
    with at_rest(model), torch.inference_mode():
        yield


@dataclass(frozen=True)
class ReadyModel:
    """A joined model with the parts that generation runs on."""

    joined: Any
    encoder: Any
    decoder: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.joined, name)


TRACED = frozenset({"attentions", "hidden_states"})


def ready_for(model: Any, settings: Any) -> ReadyModel:
    """The model with the fastest parts that can do what is asked: where those cannot, they are its own."""
    from conjoin.engine.twins import twin_of
    from conjoin.static import static_decoder

    decoder = static_decoder(model.decoder, settings)
    if decoder is not None:
        return ReadyModel(model, twin_of(model.encoder), decoder)
    if settings.outputs & TRACED or settings.guidance_scale != 1.0:
        return ReadyModel(model, model.encoder, model.decoder)
    return ReadyModel(model, twin_of(model.encoder), twin_of(model.decoder))


def executed(decoded: Callable[..., Any], model: Module, settings: Any, call: Any, noise: Any) -> dict[str, Any]:
    """Runs the program of a call, step by step, and gives ordinary tensors, which autograd takes."""
    (run_program,) = programs(model, settings, noise, decoded)
    return ordinary(run_program(call.arrays()))  # type: ignore[no-any-return]


def ordinary(found: Any) -> Any:
    """The same with tensors that autograd takes and that may be changed, which those of a generating model are not."""
    if isinstance(found, Tensor):
        return found.clone()
    if isinstance(found, dict):
        return {name: ordinary(x) for name, x in found.items()}
    if isinstance(found, list | tuple):
        return type(found)(ordinary(x) for x in found)
    if isinstance(found, DecoderCache):
        found = unpacked(found)
        return DecoderCache(**{f.name: ordinary(getattr(found, f.name)) for f in fields(found)})
    return found


def programs(model: Module, settings: Any, noise: Any, *functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Functions of (ops, model, settings, noise, arrays, *changing) as functions of (arrays, *changing): called as they are."""
    from conjoin.backends import torch as ops
    from conjoin.engine.threads import kernels_alone
    from conjoin.engine.twins import is_native

    ready = cache(lambda: ready_for(model, settings))

    def program(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_program(*arrays: Any) -> Any:
            with no_gradients(model), kernels_alone(is_native(ready().encoder, ready().decoder)):
                return function(ops, ready(), settings, noise, *arrays)

        return run_program

    return [program(function) for function in functions]


def shortened(decoder: Any, allowed: Tensor) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """A function from hidden states (B, K, W) and allowed (B, U) to logits (B, K, V), -inf but for the allowed tokens; and of
    allowed (B, V) those U tokens alone that some source may be written with.

    On the engine the head is made of their rows alone; elsewhere of all, so that the numbers stay what they are.
    """
    from conjoin.engine.twins import is_native

    ids = allowed.any(0).nonzero()[:, 0]
    few = decoder.shortlist(ids) if is_native(decoder) else None

    def logits(x: Tensor, allowed: Tensor) -> Tensor:
        made = decoder.logits(x).index_select(-1, ids) if few is None else few(x)
        made = made.masked_fill(~allowed[:, None], float("-inf"))
        every: Tensor = made.new_full((*made.shape[:-1], decoder.spec.vocab), float("-inf"))
        return every.index_copy_(-1, ids, made)

    return logits, allowed.index_select(1, ids)


def speculated(model: Any, settings: Any, call: Any, noise: Any) -> dict[str, Any]:
    """What `decoded` gives, drafted by something cheaper and checked by the model."""
    from conjoin.engine.speculative import speculated as in_rounds

    return in_rounds(model, settings, call, noise)


def in_lanes(lanes: int, function: Callable[[Any], Any], items: Any) -> Iterator[Any]:
    """`function`, which generates, of each item in order, so many at once."""
    from conjoin.engine.lanes import in_lanes as on_the_kernels

    return on_the_kernels(lanes, function, items)


def lanes_for(model: Any, asked: Any) -> int:
    """How many calls of `generate` as `asked` run side by side, where that is faster."""
    from conjoin.engine.lanes import lanes_for as on_the_kernels

    return on_the_kernels(model, asked)


def permutation(seed: int, length: int, like: Tensor) -> Tensor:
    """0, 1... length - 1 in a random order that hangs on the seed and the kind of device alone."""
    draw = torch.Generator(like.device).manual_seed(seed)
    return torch.randperm(length, generator=draw, device=like.device)


def as_loop_array(value: Any) -> Any:
    """What a step hands to the next, as it is."""
    return value
