"""Publisher: report.html and report/*.png of a run, each file written whole; what it takes on the way is kept small."""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from conjoin.evaluation import METRICS
from conjoin.training.checkpoints import Standing
from conjoin.training.recipe import Recipe
from conjoin.training.report import page, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PAGE", "SAID", "Publisher", "State", "facts_of", "spread"]

logger = logging.getLogger("conjoin")
PAGE, FOLDER = "report.html", "report"
SHOWN = 6  # examples
RECENT = 100  # steps, whose mean is the training loss that is said
State = Literal["running", "stopped", "done"]
SAID = {
    "running": "Still running when this was written.",
    "stopped": "Stopped before its end; the same command goes on.",
    "done": "Done.",
}
SHARE = 0.03  # of the run's time that reports may take on the way


class Publisher:
    """Writes the report of a run of `recipe` into `output`. `titles` are the title of each picture there may be and what
    it shows, by its name.
    """

    def __init__(self, output: Path, recipe: Recipe, titles: Mapping[str, tuple[str, str]]) -> None:
        self.output, self.titles = output, titles
        self.settings = {name: str(value) for name, value in recipe.to_dict().items()}
        self.spent = 0.0

    def due(self, seconds: float) -> bool:
        """Whether reports have taken no more than their share of so many seconds."""
        return self.spent <= SHARE * seconds

    @contextmanager
    def counted(self) -> Iterator[None]:
        """What the block takes is time that reports take."""
        began = time.monotonic()
        yield
        self.spent += time.monotonic() - began

    def publish(
        self,
        title: str,
        said: str,
        facts: Mapping[str, str],
        figures: Mapping[str, "Figure"],
        sections: Sequence[page.Section],
    ) -> None:
        """Writes the files: the pictures, and the page with further sections behind them. Where they cannot be written,
        says so and goes on.
        """
        pictures = [(*self.titles[name], page.plot(plots.as_svg(figure))) for name, figure in figures.items()]
        text = page.page(title, said, facts, [*pictures, *sections], self.settings)
        files = {f"{FOLDER}/{name}.png": plots.as_png(figure) for name, figure in figures.items()}
        try:
            (self.output / FOLDER).mkdir(parents=True, exist_ok=True)
            for name in self.titles.keys() - figures.keys():  # an earlier run's
                (self.output / FOLDER / f"{name}.png").unlink(missing_ok=True)
            for name, content in {**files, PAGE: text.encode("utf-8")}.items():
                replace(self.output / name, content)
        except OSError as error:
            logger.warning('"%s" could not be written: %s.', self.output / PAGE, error.strerror)


def spread(count: int) -> list[int]:
    """The numbers of the examples that are shown, of so many."""
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(SHOWN, count)).astype(int))]


def facts_of(standing: Standing) -> Mapping[str, str]:
    """A few numbers on how the run stands."""
    found = {"steps": f"{standing.step:,}", "time": f"{standing.seconds / 60:.1f} min"}
    if standing.losses:
        found["training loss"] = f"{np.mean(standing.losses[-RECENT:]):.3f}"
    if standing.evaluations:
        found["validation loss"] = f"{standing.evaluations[-1]['loss']:.3f}"
    if standing.best is not None:
        found[f"best {METRICS.get(standing.best['metric'], standing.best['metric'])}"] = (
            f"{standing.best['value']:.4g}, step {standing.best['step']}"
        )
    return found


def replace(path: Path, content: bytes) -> None:
    """Writes a file that is at every moment the old one or the new one."""
    made = path.with_name(f".{path.name}.part")
    made.write_bytes(content)
    os.replace(made, path)
