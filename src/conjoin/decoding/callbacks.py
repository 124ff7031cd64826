"""What the caller of `generate` wants called at each step: processors, criteria, allowed prefixes, a streamer, a clock."""

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from conjoin.errors import InputError

__all__ = ["CALLBACKS", "NOTHING", "Callbacks", "Streamer", "asked_callbacks"]

Array = Any
CALLBACKS = ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "streamer")


@runtime_checkable
class Streamer(Protocol):
    """What transformers' streamers have: `put` takes ids (N,) as they are chosen, the prompt (N, P) first."""

    def put(self, value: Any) -> Any: ...  # noqa: D102
    def end(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Callbacks:
    """Each is called once a step, in the order of the sources."""

    processors: tuple[Callable[..., Array], ...] = ()
    criteria: tuple[Callable[..., Any], ...] = ()
    allowed: Callable[..., Any] | None = None
    streamer: Streamer | None = None
    deadline: float | None = None  # of time.monotonic()

    @property
    def need_every_row(self) -> bool:
        """Whether rows that are done must stay in the batch, so that row i is always the same."""
        return bool(self.processors or self.criteria or self.allowed or self.streamer)


NOTHING = Callbacks()


def asked_callbacks(given: Mapping[str, Any], max_time: float | None) -> Callbacks:
    """What a call asks for. Raises InputError for what cannot be called."""
    found = {name: given.get(name) for name in CALLBACKS}
    streamer, allowed = found["streamer"], found["prefix_allowed_tokens_fn"]
    if streamer is not None and not isinstance(streamer, Streamer):
        raise InputError(f"streamer is {streamer!r}; an object with the methods put(ids) and end() was expected.")
    if allowed is not None and not callable(allowed):
        raise InputError(f"prefix_allowed_tokens_fn is {allowed!r}; a function (source, ids) -> ids was expected.")
    if not any(x is not None for x in found.values()) and max_time is None:
        return NOTHING
    return Callbacks(
        processors=callables("logits_processor", found["logits_processor"]),
        criteria=callables("stopping_criteria", found["stopping_criteria"]),
        allowed=allowed,
        streamer=streamer,
        deadline=None if max_time is None else time.monotonic() + max_time,
    )


def callables(name: str, given: Any) -> tuple[Callable[..., Any], ...]:
    """A list of functions (input_ids, scores). Raises InputError for anything else."""
    if given is None:
        return ()
    if not isinstance(given, list | tuple):
        raise InputError(f"{name} is a {type(given).__name__}; a list of functions (input_ids, scores) was expected.")
    for one in given:
        if not callable(one):
            raise InputError(
                f"{name} holds {one!r}, which cannot be called; functions (input_ids, scores) were expected."
            )
        if inspect.isclass(one):
            raise InputError(f"{name} holds the class {one.__name__}; an object of it was expected.")
    return tuple(given)
