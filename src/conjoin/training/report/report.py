"""Report: report.html and report/*.png of a run, each file written whole, at evaluations and when the run ends."""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conjoin.evaluation import METRICS, write_all
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.checkpoints import Standing
from conjoin.training.data import Pairs
from conjoin.training.evaluate import Look
from conjoin.training.recipe import Recipe
from conjoin.training.report import page, plots
from conjoin.training.report.examples import Example, examples_of
from conjoin.training.tokenise import Examples

__all__ = ["PAGE", "Report", "State"]

logger = logging.getLogger("conjoin")
PAGE, FOLDER = "report.html", "report"
SHOWN = 6  # examples
RECENT = 100  # steps, whose mean is the training loss that is said
SHARE = 0.03  # of the run's time that reports may take on the way
State = Literal["running", "stopped", "done"]
SAID = {
    "running": "Still running when this was written.",
    "stopped": "Stopped before its end; the same command goes on.",
    "done": "Done.",
}
Lengths = NDArray[np.int64]


class Report:
    """The report of a run on `examples`; the model writes of some of `pairs`, which are for validation where there are
    any. Reports on the way are left out as long as they have taken more than SHARE of the run's time.
    """

    def __init__(self, output: Path, recipe: Recipe, examples: Examples, pairs: Pairs) -> None:
        self.output, self.recipe, self.lengths_read = output, recipe, examples
        self.pairs = pairs
        self.examples: list[Example] = []
        self.output_lengths: Lengths | None = None
        self.title, self.read_at = "", -1
        self.spent = 0.0

    def looker(self, step: int, seconds: float | None = None) -> Look:
        """What reads the examples of the model after a step, unless they were; after so many seconds if that is due."""

        def look(model: EncoderDecoderModel, texts: Sequence[str] | None) -> None:
            if step != self.read_at and (seconds is None or self.due(seconds)):
                self.read(model, texts)
                self.read_at = step

        return look

    def due(self, seconds: float) -> bool:
        """Whether reports have taken no more than their share of so many seconds."""
        return self.spent <= SHARE * seconds

    def read(self, model: EncoderDecoderModel, texts: Sequence[str] | None) -> None:
        """Looks at what the model, in evaluation mode, writes: `texts` of the first pairs, or of some, written now."""
        began = time.monotonic()
        count = len(self.pairs) if texts is None else len(texts)
        chosen = np.unique(np.linspace(0, count - 1, min(SHOWN, count)).astype(int))
        sources, targets = ([side[i] for i in chosen] for side in (self.pairs.sources, self.pairs.targets))
        some = Pairs(sources, targets, self.pairs.name)
        if texts is None:
            outputs = write_all(model, some.sources, truncation=True)
        else:
            outputs = [texts[i] for i in chosen]
            self.output_lengths = target_lengths(model, texts)
        self.examples = examples_of(model, some, outputs, self.lengths_read.limits)
        self.title = f"{model.encoder.config.model_type} to {model.decoder.config.model_type}"
        self.spent += time.monotonic() - began

    def write(self, standing: Standing, state: State) -> None:
        """Writes the files, on the way where the model was looked at; where they cannot be written, says so and goes on."""
        if state == "running" and standing.step != self.read_at:
            return
        began = time.monotonic()
        figures = dict(self.figures(standing))
        files = {f"{FOLDER}/{name}.png": plots.as_png(figure) for name, figure in figures.items()}
        files[PAGE] = self.page(standing, state, figures).encode("utf-8")
        try:
            (self.output / FOLDER).mkdir(parents=True, exist_ok=True)
            for name in TITLES.keys() - figures.keys():  # an earlier run's
                (self.output / FOLDER / f"{name}.png").unlink(missing_ok=True)
            for name, content in files.items():
                replace(self.output / name, content)
        except OSError as error:
            logger.warning('"%s" could not be written: %s.', self.output / PAGE, error.strerror)
        self.spent += time.monotonic() - began

    def figures(self, standing: Standing) -> Iterator[tuple[str, Any]]:
        """Each picture that there is something for, by its name."""
        best = None if standing.best is None else int(standing.best["step"])
        if standing.losses:
            yield "loss", plots.loss_plot(standing.losses, standing.evaluations, best)
        if standing.rates:
            yield "rates", plots.rates_plot(standing.rates)
        scored = {name: said for name, said in METRICS.items() if any(name in one for one in standing.evaluations)}
        if scored:
            yield "scores", plots.scores_plot(standing.evaluations, scored, best)
        lengths = {"sources": self.lengths_read.source_lengths}
        yield "source_lengths", plots.lengths_plot(lengths)
        lengths = {"references": self.lengths_read.label_lengths - 1}  # without the end token
        if self.output_lengths is not None:
            lengths["outputs"] = self.output_lengths
        yield "target_lengths", plots.lengths_plot(lengths)

    def page(self, standing: Standing, state: State, figures: Mapping[str, Any]) -> str:
        """report.html."""
        sections = [(*TITLES[name], page.plot(plots.as_svg(figure))) for name, figure in figures.items()]
        if self.examples:
            cards = (
                page.example(one, plots.as_svg(plots.attention_plot(one.attention)) if one.attention else None)
                for one in self.examples
            )
            said = f"Of {self.pairs.name}, as the model wrote when this was last refreshed."
            sections.append(("Examples", said, "".join(cards)))
        settings = {name: str(value) for name, value in self.recipe.to_dict().items()}
        return page.page(f"Training {self.title}".strip(), SAID[state], facts(standing), sections, settings)


TITLES = {
    "loss": ("Loss", "The mean loss of a target token: of each step, smoothed, and of the validation pairs."),
    "rates": ("Learning rates", "Of each group of parameters."),
    "scores": ("Scores of what the model writes", "Of validation pairs, at each evaluation."),
    "source_lengths": ("Length of sources", "In tokens, of the pairs that are learnt from, as they are read."),
    "target_lengths": ("Length of targets and outputs", "In tokens; outputs where an evaluation wrote some."),
}


def facts(standing: Standing) -> Mapping[str, str]:
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


def target_lengths(model: EncoderDecoderModel, texts: Sequence[str]) -> Lengths:
    """Tokens of each text, as the target tokenizer cuts it."""
    assert model.tokenizers is not None  # it has written the texts
    rows = model.tokenizers.target(list(texts), add_special_tokens=False)["input_ids"]
    return np.array([len(row) for row in rows], np.int64)


def replace(path: Path, content: bytes) -> None:
    """Writes a file that is at every moment the old one or the new one."""
    made = path.with_name(f".{path.name}.part")
    made.write_bytes(content)
    os.replace(made, path)
