"""Searches that ask for the same, as one: they stay together from step to step, each at a length of its own.

One call of torch serves all of a party, and nothing is taken apart until a text leaves.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from conjoin.backends import torch as ops
from conjoin.decoding.generate import chooser
from conjoin.decoding.settings import LENGTHS
from conjoin.decoding.state import State

if TYPE_CHECKING:
    from conjoin.serving.jobs import Job

__all__ = ["Party", "gathered"]

OWN = ("cache", "memory", "memory_mask", "stands", "stop_moves")  # of a state, what stays each text's own
MADE = ("logits", "hidden")  # by a step, and read by then


class Party:
    """Some texts, and the state of their searches: a text's own, or rows of what all have, `apart`."""

    def __init__(self, job: "Job", state: State, choose: Any) -> None:
        self.jobs, self.state, self.choose = [job], state, choose
        self.own = [{name: getattr(state, name) for name in OWN}]
        self.told: list[Any] = [None]  # what the engine is told of each text's run, and what must live as long
        self.facts: Any = None  # all of it, where it is now

    def take(self, others: Sequence["Party"]) -> None:
        """Takes the texts of others in."""
        several = [self, *others]
        for name in ("jobs", "own", "told"):
            setattr(self, name, [one for party in several for one in getattr(party, name)])
        self.state = joined([apart(party.state) for party in several])
        self.settle()

    def keep(self, numbers: Sequence[int]) -> None:
        """Lets go of all texts but some."""
        if len(numbers) < len(self.jobs):
            for name in ("jobs", "own", "told"):
                setattr(self, name, [getattr(self, name)[i] for i in numbers])
            if self.jobs:
                self.state = taken(without(self.state, MADE), torch.tensor(numbers))
                self.settle()

    def settle(self) -> None:
        """Lets those who are here now choose as each of them would."""
        every = [job.settings for job in self.jobs]
        lengths: dict[str, Any] = {name: torch.tensor([[getattr(one, name)] for one in every]) for name in LENGTHS}
        settings = replace(every[0], **lengths, room=max(one.room for one in every))
        self.choose, self.facts = chooser(ops, settings, None, None), None

    def ended(self) -> list[bool]:
        """Which searches are done."""
        found: list[bool] = self.state.done.tolist()
        return found

    def state_of(self, number: int) -> State:
        """One text's state, whose arrays are rows of the party's."""
        if not self.state.apart:
            return self.state
        one: State = taken(without(self.state, MADE), slice(number, number + 1))
        return replace(one, length=int(one.length), at=int(one.at), apart=False, **self.own[number])


def gathered(jobs: Iterable["Job"]) -> list[Party]:
    """The parties of jobs that go on, those of a kind as one, without who has left."""
    found: dict[Any, list[Party]] = {}
    for party in dict.fromkeys(job.party for job in jobs):
        party.keep([i for i, job in enumerate(party.jobs) if not job.gone])
        found.setdefault(party.jobs[0].kind or party, []).append(party)
    for first, *others in found.values():
        if others:
            first.take(others)
            for job in first.jobs:
                job.party = first
    return [some[0] for some in found.values()]


def without(state: State, names: Iterable[str]) -> State:
    """A state without some of its arrays."""
    nothing: dict[str, Any] = dict.fromkeys(names)
    return replace(state, **nothing)


def apart(state: State) -> State:
    """A state that may stand beside others."""
    state = without(state, (*MADE, *OWN))
    if state.apart:
        return state
    return replace(state, length=torch.tensor([[state.length]]), at=torch.tensor([state.at]), apart=True)


def joined(values: Sequence[Any]) -> Any:
    """Arrays one after another, the shorter ones made longer, within whatever holds them; what is no array is everybody's."""
    first = values[0]
    if isinstance(first, Tensor):
        widest = max(x.shape[-1] for x in values)
        return torch.cat(
            [x if x.dim() == 1 or x.shape[-1] == widest else pad(x, (0, widest - x.shape[-1])) for x in values]
        )
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **{f.name: joined([getattr(v, f.name) for v in values]) for f in fields(first)})
    return first


def taken(value: Any, rows: Any) -> Any:
    """Some rows of every array within whatever holds it."""
    if isinstance(value, Tensor):
        return value[rows]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: taken(getattr(value, f.name), rows) for f in fields(value)})
    return value
