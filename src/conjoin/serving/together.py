"""Searches that ask for the same choose together, each at a length of its own: one call of torch where there were many."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from conjoin.backends import torch as ops
from conjoin.decoding.callbacks import NOTHING
from conjoin.decoding.generate import chooser
from conjoin.decoding.settings import LENGTHS, Settings
from conjoin.decoding.state import State
from conjoin.engine.tensor_rows import suits
from conjoin.serving.jobs import Job

__all__ = ["choose_all", "exact", "kind_of", "kinds"]

OWN = ("cache", "memory", "memory_mask", "hidden", "stop_moves")  # of a state, what no search reads when it chooses


def exact(model: Any) -> bool:
    """Whether the choice for a row is the same, bit for bit, whatever rows stand beside it.

    It is where the engine's kernels make log-probabilities and look for the best. torch's own log_softmax adds up several rows
    in another order than one.
    """
    return suits(torch.empty(1, model.decoder.spec.vocab))


def kind_of(settings: Settings) -> str | None:
    """What searches have in common that choose together; None for one that chooses alone."""
    reads = settings.encoder_repetition_penalty != 1.0 or settings.encoder_no_repeat_ngram_size > 0
    odd = reads or settings.watermarking is not None or settings.guidance_scale != 1.0 or settings.stop_strings
    if (
        odd
        or settings.do_sample
        or settings.search not in ("single", "beams")
        or settings.callbacks is not NOTHING
        or settings.as_dictionary
    ):
        return None
    return repr(replace(settings, max_length=0, min_length=0, room=0))


def kinds(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs by what they have in common."""
    found: dict[Any, list[Job]] = {}
    for job in jobs:
        found.setdefault(job if job.kind is None else job.kind, []).append(job)
    return list(found.values())


def choose_all(jobs: Sequence[Job]) -> None:
    """Lets the searches of jobs of one kind, whose logits are there, choose: each has a state one token longer."""
    if len(jobs) == 1:
        jobs[0].state = jobs[0].choose(jobs[0].state)
        return
    lengths: dict[str, Any] = {name: torch.tensor([[getattr(job.settings, name)] for job in jobs]) for name in LENGTHS}
    room = max(job.settings.room for job in jobs)
    choose = chooser(ops, replace(jobs[0].settings, **lengths, room=room), None, None)
    then = choose(stacked([job.state for job in jobs]))
    for i, job in enumerate(jobs):
        job.state = part(then, i, job.state)


def stacked(states: Sequence[State]) -> State:
    """Several sources' states as one, each at its length."""
    nothing: dict[str, Any] = dict.fromkeys(OWN)
    bare = [replace(state, **nothing) for state in states]
    whole: State = together(bare)
    return replace(whole, length=torch.tensor([[state.length] for state in states]), apart=True)


def together(values: Sequence[Any]) -> Any:
    """Arrays one after another, the shorter ones made longer, within whatever holds them; what is no array is everybody's."""
    first = values[0]
    if isinstance(first, Tensor):
        if (whole := as_they_lie(values)) is not None:
            return whole
        widest = max(x.shape[-1] for x in values)
        return torch.cat([x if x.shape[-1] == widest else pad(x, (0, widest - x.shape[-1])) for x in values])
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **{f.name: together([getattr(v, f.name) for v in values]) for f in fields(first)})
    return first


def as_they_lie(parts: Sequence[Tensor]) -> Tensor | None:
    """Parts that lie one after another in one piece of memory, as a step's logits do, as that piece; None where they do not."""
    first, size = parts[0], parts[0].nbytes
    store, place = first.untyped_storage().data_ptr(), first.data_ptr()
    for i, x in enumerate(parts):
        if x.data_ptr() != place + i * size or x.shape != first.shape or not x.is_contiguous():
            return None
        if x.untyped_storage().data_ptr() != store:
            return None
    return first.as_strided((len(parts) * len(first), *first.shape[1:]), first.stride())


def part(whole: State, number: int, was: State) -> State:
    """One source's state after all have chosen."""

    def cut(value: Any, before: Any) -> Any:
        if isinstance(value, Tensor):
            own = value[number : number + 1]
            return own if own.dim() == 1 or own.shape[-1] == before.shape[-1] else own[..., : before.shape[-1]]
        if is_dataclass(value) and not isinstance(value, type):
            return replace(
                value, **{f.name: cut(getattr(value, f.name), getattr(before, f.name)) for f in fields(value)}
            )
        return value

    changed = {name: cut(getattr(whole, name), getattr(was, name)) for name in ("ids", "search", "done", "lineage")}
    return replace(was, **changed, length=was.length + 1)
