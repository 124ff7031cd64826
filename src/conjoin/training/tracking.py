"""A run's numbers to TensorBoard, Weights & Biases and the other trackers that Accelerate knows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, filter_trackers, get_available_trackers
from accelerate.utils import LoggerType

from conjoin.errors import ConfigError, nearest
from conjoin.training.recipe import Recipe

__all__ = ["Tracking", "check_trackers"]

PROJECT, FOLDER = "conjoin", "logs"
STEPS = 10  # training is logged once in so many, as their mean
PACKAGES = {"comet_ml": "comet-ml"}  # where pip's name is another than Accelerate's


def check_trackers(track: Sequence[str | GeneralTracker]) -> None:
    """Raises ConfigError for a name that Accelerate does not know, ImportError for one whose package is missing."""
    known = [one for one in LoggerType.list() if one != "all"]
    for one in track:
        if isinstance(one, GeneralTracker):
            continue
        if one not in known:
            raise ConfigError(f"there is no tracker {one!r}{nearest(one, known)}; it is one of {', '.join(known)}.")
        if LoggerType(one) not in get_available_trackers():
            package = PACKAGES.get(one, one)
            raise ImportError(
                f'tracking with "{one}" needs {package}, which is not installed; run: pip install {package}.'
            )


class Tracking:
    """While the block lasts, what is logged goes to the trackers: names, or objects of Accelerate's GeneralTracker.

    Those that write files do it in `output`/logs. Raises as `check_trackers` does.
    """

    def __init__(
        self, accelerator: Accelerator, track: Sequence[str | GeneralTracker], output: Path, recipe: Recipe
    ) -> None:
        check_trackers(track)
        self.accelerator, self.recipe = accelerator, recipe
        accelerator.project_configuration.set_directories(str(output))
        accelerator.project_configuration.logging_dir = str(output / FOLDER)
        accelerator.log_with = filter_trackers(list(track), accelerator.logging_dir)

    def __enter__(self) -> "Tracking":
        if self.accelerator.log_with:
            self.accelerator.init_trackers(PROJECT, config=flat(self.recipe.to_dict()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tracker in self.accelerator.trackers:  # end_training would also end the processes' group
            tracker.finish()
        self.accelerator.trackers = []

    def step(self, number: int, losses: Sequence[float], rates: Mapping[str, float]) -> None:
        """A step is over; `losses` are those of all steps so far."""
        if self.accelerator.trackers and number % STEPS == 0:
            last = losses[-STEPS:]
            found = {f"train/learning_rate/{name}": rate for name, rate in rates.items()}
            self.accelerator.log({"train/loss": sum(last) / len(last), **found}, step=number)

    def evaluation(self, number: int, found: Mapping[str, float]) -> None:
        """What was found on the validation pairs after a step."""
        if self.accelerator.trackers:
            self.accelerator.log({f"validation/{name}": value for name, value in found.items()}, step=number)


def flat(settings: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Settings as every tracker takes them: numbers and texts."""
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in settings.items()}
