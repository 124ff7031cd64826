"""Batches side by side, each on a thread of its own: what one does in Python hides behind the kernels of the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from conjoin.engine.threads import kernel_threads
from conjoin.serving.jobs import Job

__all__ = ["Lane", "lanes_for", "next_lane", "share_of"]

MOST = 2  # one that computes while the other is in Python; more would wait for Python's lock
ENOUGH = 24  # rows of a batch: below, its products wait for weights to come from memory, and two would read them twice


@dataclass(eq=False)
class Lane:
    """Texts that take their steps together. Its thread alone changes it; others look."""

    running: list[Job] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of its next step."""
        return sum(job.rows for job in list(self.running))


def lanes_for(several: bool) -> list[Lane]:
    """The lanes of a model; one where it may not have several, or where there are no threads for them."""
    return [Lane() for _ in range(min(MOST, kernel_threads()) if several else 1)]


def next_lane(lanes: Sequence[Lane]) -> Lane:
    """The one that who comes next joins: the first that has not enough, else the one with the fewest rows."""
    return next((lane for lane in lanes if lane.rows < ENOUGH), min(lanes, key=lambda lane: lane.rows))


def share_of(lanes: Sequence[Lane]) -> int:
    """How many threads the kernels of each lane that runs have."""
    return max(1, kernel_threads() // max(1, sum(bool(lane.running) for lane in lanes)))
