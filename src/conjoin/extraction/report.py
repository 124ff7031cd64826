"""Report: what came of training an extractor, which sentences it chooses beside those that it should, on the same page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conjoin.evaluation import METRICS
from conjoin.extraction.evaluate import joined
from conjoin.extraction.lessons import Lessons
from conjoin.extraction.model import Extractor
from conjoin.training.checkpoints import Standing
from conjoin.training.recipe import Recipe
from conjoin.training.report import page, plots
from conjoin.training.report.publishing import SAID, Publisher, State, facts_of, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report"]

STOPPED = "Stopped before its end; the folder has the best epoch before, if one ended."
SCORES = ("rouge1", "rouge2", "rougeL")
TITLES = {
    "loss": ("Loss", "The mean loss of a sentence: of each step, smoothed, and of the validation documents."),
    "rates": ("Learning rates", "Of the encoder, and of the new head."),
    "scores": (
        "Scores of what the model chooses",
        "Of validation documents, at each evaluation; and of as many first sentences.",
    ),
    "places": ("Where the chosen sentences stand", "Beside the labels, which are those that the greedy oracle chose."),
    "source_lengths": ("Length of documents", "In tokens, of those that are learnt from, as they are read."),
    "target_lengths": (
        "Length of summaries",
        "In tokens: as chosen, as the labels make them, as they are in the data.",
    ),
}
LEGEND = (
    "Of {name}, as the best model so far chooses. Before each sentence is its score; a bar and bold letters mark those that "
    "are chosen, “label” those that the greedy oracle chose by the reference; – is before what was not read."
)


class Report:
    """The report of a run on `trained`; it is watched by what the model chooses of `seen`."""

    def __init__(self, output: Path, recipe: Recipe, model: Extractor, trained: Lessons, seen: Lessons) -> None:
        self.publisher = Publisher(output, recipe, TITLES)
        self.model, self.documents, self.labels = model, seen.documents, seen.chosen
        self.lengths = trained.lengths
        self.scores: list[list[float]] = []
        self.chosen: list[list[int]] = []

    def read(self, scores: list[list[float]]) -> None:
        """Takes note of the scores that the best model so far gives the sentences of the documents."""
        self.scores, self.chosen = scores, self.model.best(self.documents.sentences, scores)

    def write(self, standing: Standing, state: State, beside: Mapping[str, Mapping[str, float]]) -> None:
        """Writes the files. `beside` has the scores of "lead" and "oracle", where there are documents for validation."""
        with self.publisher.counted():
            title = f"Training {self.model.encoder.config.model_type} to choose sentences"
            facts = {**facts_of(standing), **cards(standing, beside)}
            figures = dict(self.figures(standing, beside.get("lead")))
            self.publisher.publish(
                title, STOPPED if state == "stopped" else SAID[state], facts, figures, self.sections()
            )

    def figures(self, standing: Standing, lead: Mapping[str, float] | None) -> "Iterator[tuple[str, Figure]]":
        """Each picture that there is something for, by its name."""
        best = None if standing.best is None else int(standing.best["step"])
        if standing.losses:
            yield "loss", plots.loss_plot(standing.losses, standing.evaluations, best, "sentence")
        if standing.rates:
            yield "rates", plots.rates_plot(standing.rates)
        if lead is not None and standing.evaluations:
            yield "scores", plots.scores_plot(standing.evaluations, {n: METRICS[n] for n in SCORES}, best, lead)
        if self.chosen:
            yield "places", plots.places_plot({"chosen": places(self.chosen), "labels": places(self.labels)})
        yield "source_lengths", plots.lengths_plot({"documents": self.lengths})
        chosen = {"chosen": joined(self.documents, self.chosen)} if self.chosen else {}
        labels = {"labels": joined(self.documents, self.labels)}
        texts = {**chosen, **labels, "references": self.documents.summaries}
        yield "target_lengths", plots.lengths_plot({name: self.lengths_of(own) for name, own in texts.items()})

    def lengths_of(self, texts: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Tokens of each text."""
        assert self.model.encoder.tokenizer is not None
        rows = self.model.encoder.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return np.array([len(row) for row in rows], np.int64)

    def sections(self) -> list[page.Section]:
        """Some documents, once their sentences have scores."""
        if not self.scores:
            return []
        shown = "".join(self.document(number) for number in spread(len(self.documents)))
        return [("Examples", LEGEND.format(name=self.documents.name), shown)]

    def document(self, number: int) -> str:
        """One document."""
        own, scores = self.documents.sentences[number], self.scores[number]
        chosen, wanted = self.chosen[number], self.labels[number]
        lines = [
            page.Sentence(text, scores[i] if i < len(scores) else None, i in chosen, i in wanted)
            for i, text in enumerate(own)
        ]
        return page.sentences(lines, self.documents.summaries[number])


def places(chosen: Sequence[Sequence[int]]) -> list[int]:
    """The places of all chosen sentences, from 1."""
    return [number + 1 for own in chosen for number in own]


def cards(standing: Standing, beside: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """ROUGE-L of the best model, of the first sentences and of the oracle, where they are known."""
    found = {name: scores["rougeL"] for name, scores in beside.items()}
    if standing.best is not None and "rougeL" in standing.best["scores"]:
        found = {"model": standing.best["scores"]["rougeL"], **found}
    names = {"model": "best model's ROUGE-L", "lead": "first sentences' ROUGE-L", "oracle": "the oracle's ROUGE-L"}
    return {names[name]: f"{value:.1f}" for name, value in found.items()}
