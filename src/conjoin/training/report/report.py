"""Report: what came of a run of a joined model, written at evaluations and when the run ends."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from conjoin.training.report.publishing import SAID, Publisher, State, facts_of, spread
from conjoin.training.tokenise import Examples

__all__ = ["Report"]

Lengths = NDArray[np.int64]


class Report:
    """The report of a run on `examples`; the model writes of some of `pairs`, which are for validation where there are
    any. Reports on the way are left out as long as they have taken more than their share of the run's time.
    """

    def __init__(self, output: Path, recipe: Recipe, examples: Examples, pairs: Pairs) -> None:
        self.publisher = Publisher(output, recipe, TITLES)
        self.lengths_read, self.pairs = examples, pairs
        self.examples: list[Example] = []
        self.output_lengths: Lengths | None = None
        self.title, self.read_at = "", -1

    def looker(self, step: int, seconds: float | None = None) -> Look:
        """What reads the examples of the model after a step, unless they were; after so many seconds if that is due. The
        lengths of all texts it reads each time.
        """

        def look(model: EncoderDecoderModel, texts: Sequence[str] | None) -> None:
            if (
                texts is not None
            ):  # of every evaluation: it costs next to nothing, and the last ones are shown in the end
                self.output_lengths = target_lengths(model, texts)
            if step != self.read_at and (seconds is None or self.publisher.due(seconds)):
                with self.publisher.counted():
                    self.read(model, texts)
                self.read_at = step

        return look

    def read(self, model: EncoderDecoderModel, texts: Sequence[str] | None) -> None:
        """Looks at what the model, in evaluation mode, writes: `texts` of the first pairs, or of some, written now."""
        chosen = spread(len(self.pairs) if texts is None else len(texts))
        sources, targets = ([side[i] for i in chosen] for side in (self.pairs.sources, self.pairs.targets))
        some = Pairs(sources, targets, self.pairs.name)
        outputs = write_all(model, some.sources, truncation=True) if texts is None else [texts[i] for i in chosen]
        self.examples = examples_of(model, some, outputs, self.lengths_read.limits)
        self.title = f"{model.encoder.config.model_type} to {model.decoder.config.model_type}"

    def write(self, standing: Standing, state: State) -> None:
        """Writes the files, on the way where the model was looked at."""
        if state == "running" and standing.step != self.read_at:
            return
        with self.publisher.counted():
            title, figures = f"Training {self.title}".strip(), dict(self.figures(standing))
            self.publisher.publish(title, SAID[state], facts_of(standing), figures, self.sections())

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

    def sections(self) -> list[page.Section]:
        """The examples, once there are any."""
        cards = (
            page.example(one, plots.as_svg(plots.attention_plot(one.attention)) if one.attention else None)
            for one in self.examples
        )
        said = f"Of {self.pairs.name}, as the model wrote when this was last refreshed."
        return [("Examples", said, "".join(cards))] if self.examples else []


TITLES = {
    "loss": ("Loss", "The mean loss of a target token: of each step, smoothed, and of the validation pairs."),
    "rates": ("Learning rates", "Of each group of parameters."),
    "scores": ("Scores of what the model writes", "Of validation pairs, at each evaluation."),
    "source_lengths": ("Length of sources", "In tokens, of the pairs that are learnt from, as they are read."),
    "target_lengths": ("Length of targets and outputs", "In tokens; outputs where an evaluation wrote some."),
}


def target_lengths(model: EncoderDecoderModel, texts: Sequence[str]) -> Lengths:
    """Tokens of each text, as the target tokenizer cuts it."""
    assert model.tokenizers is not None  # it has written the texts
    rows = model.tokenizers.target(list(texts), add_special_tokens=False)["input_ids"]
    return np.array([len(row) for row in rows], np.int64)
