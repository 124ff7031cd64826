"""One text on its way through the server: what is asked of it, how far its search is, and what has become of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from conjoin.decoding.call import Call
from conjoin.decoding.settings import Settings
from conjoin.serving.refusals import Refusal

__all__ = ["Answer", "Job", "Sequence"]


@dataclass(frozen=True)
class Sequence:
    """One of the sequences that were written of a text."""

    ids: list[int]  # the start token first, the end token last where it came
    score: float | None  # of beams
    tokens: int  # new ones
    ended: bool  # by itself, not by the length


@dataclass(frozen=True)
class Answer:
    """All that was written of a text, the best first."""

    sequences: list[Sequence]
    source_tokens: int
    seconds: float
    queued: float  # seconds of them before its work began


@dataclass(eq=False)
class Job:
    """Made by whoever serves the request, then the scheduler's alone, but for `cancelled`."""

    settings: Settings
    call: Call
    noise: Callable[..., Any]
    bytes: int  # of memory, while it runs
    tell: Callable[["Job", list[int] | Answer | Refusal], None]  # called by the scheduler's thread
    streams: bool = False
    arrived: float = field(default_factory=time.monotonic)
    began: float = 0.0
    cancelled: bool = False
    state: Any = None  # a State once its source is encoded
    party: Any = None  # the Party that it runs in
    kind: str | None = None  # what it has in common with those whom it may run in one party with
    certain: Any = None  # which ids a stream has been told
    first: bool = True  # whether no token of it was chosen yet
    gone: bool = False  # whether it has left

    @cached_property
    def guided(self) -> bool:
        """Whether it is led away from another source, which not every step can do for all together."""
        return self.settings.guidance_scale != 1.0

    @cached_property
    def rows(self) -> int:
        """Rows of a step that it takes."""
        return self.settings.hypotheses * (2 if self.guided else 1)

    @cached_property
    def source_tokens(self) -> int:
        """Tokens of the source."""
        return int(self.call.source.shape[1])
