"""What a run of training did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """What a run did, the runs that it resumed included.

    `path` is the folder of the model, or None where a signal ended the run before it was done. `newest` is the newest
    checkpoint, `best` the step, metric and value of the best. `losses` has the mean loss of each step, `evaluations`
    dictionaries of "step", "loss" and the scores of generated texts; `seconds` are of training and evaluation.
    """

    path: Path | None
    newest: Path
    steps: int
    seconds: float
    best: dict[str, Any] | None
    losses: list[float]
    evaluations: list[dict[str, float]]
    signal: int | None = None
