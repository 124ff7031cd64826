"""Training an extractor: documents and their summaries to a folder, the best of its epochs kept there; in one process."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin.checkpoint import atomic_folder
from conjoin.errors import ConfigError, ConjoinError, DataError
from conjoin.extraction.documents import Documents
from conjoin.extraction.evaluate import baselines, values_of
from conjoin.extraction.lessons import Lessons, lessons_of, warn_of_lessons
from conjoin.extraction.model import Extractor, Settings, sentence_loss
from conjoin.extraction.oracle import oracle
from conjoin.extraction.report import Report
from conjoin.torch.parts import Encoder
from conjoin.training.batches import Batches, Rows
from conjoin.training.checkpoints import Standing
from conjoin.training.evaluate import LOSS, improves
from conjoin.training.interrupts import Interrupts
from conjoin.training.optimiser import adamw, learning_rates, set_learning_rates
from conjoin.training.precision import arithmetic, chosen_precision
from conjoin.training.randomness import seed_all
from conjoin.training.recipe import RESULT_FILE, Recipe
from conjoin.training.recipes import RECIPE_FILE, written
from conjoin.training.report import State, require_plots
from conjoin.training.reporter import Reporter
from conjoin.training.schedule import Moment, progress
from conjoin.training.tables import GroupName

__all__ = ["extractor_for", "train_extractor"]

LOOKED_AT = 200  # documents that were learnt from, in the report of a run without any that are held out


def extractor_for(
    encoder: Encoder, train_documents: Documents, *, language: str = "en", max_source_length: int | None = None
) -> Extractor:
    """A new extractor, which chooses as many sentences as the summaries of these documents are best made of, on average.

    Raises DataError where no sentence has a word of its summary.
    """
    pairs = zip(train_documents.sentences, train_documents.summaries, strict=True)
    counts = [len(oracle(sentences, summary)) for sentences, summary in pairs]
    if not any(counts):
        raise DataError(f"{train_documents.name}: no sentence has a word in common with its summary; nothing to learn.")
    spec = encoder.spec
    count = max(1, round(sum(counts) / np.count_nonzero(counts)))
    settings = Settings(
        heads=spec.heads, ffn=spec.ffn, sentences=count, language=language, max_source_length=max_source_length
    )
    return Extractor(encoder, settings)


def train_extractor(
    model: Extractor,
    train_documents: Documents,
    validation_documents: Documents | None,
    recipe: Recipe,
    output_dir: str | Path,
    *,
    report: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains an extractor, and keeps in `output_dir` that of the best epoch by validation loss (the last, without one).

    Of the recipe it heeds the learning rates, warm-up and weight decay of the groups "encoder" and "new" (the head), the
    schedule, batch_size, max_grad_norm, AdamW's settings, dropout, precision, device, seed, generation_examples (how many
    validation documents have their chosen sentences scored), and the ends epochs, max_steps and minutes. Returns steps,
    seconds, losses, evaluations, and the scores of "lead" and "oracle" `beside` theirs. With `report` report.html and its
    pictures are in `output_dir` too. SIGTERM or Ctrl-C ends the run; what is in the folder is the best so far.

    Raises ConjoinError where the loss is no longer a number, ConfigError where several processes were started, ImportError
    where the report needs a package that is not installed.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ConfigError(f"{processes} processes were started; an extractor is trained in one: leave out torchrun.")
    if report:
        require_plots()
    device = torch.device("cuda" if recipe.device == "auto" and torch.cuda.is_available() else "cpu")
    recipe = recipe.changed(precision=chosen_precision(recipe.precision, device))
    seed_all(recipe.seed)
    model.float().to(device)
    lessons = lessons_of(model, train_documents)
    held_out = None if validation_documents is None else lessons_of(model, validation_documents)
    warn_of_lessons(lessons, held_out, model.limit)
    run = Run(model, lessons, held_out, recipe, Path(output_dir))
    if report:
        run.report = Report(run.output, recipe, model, lessons, run.seen)
    with Interrupts() as interrupts, Reporter(quiet) as reporter:
        run.go(interrupts, reporter)
    model.eval()
    return run.facts()


class Run:
    """One run: what learns, of what, and how far it is. `seen` are the documents that it is watched by."""

    def __init__(
        self, model: Extractor, lessons: Lessons, held_out: Lessons | None, recipe: Recipe, output: Path
    ) -> None:
        self.model, self.lessons, self.held_out, self.recipe, self.output = model, lessons, held_out, recipe, output
        self.seen = lessons.first(LOOKED_AT) if held_out is None else held_out
        self.optimiser = adamw(groups_of(model, recipe), recipe, model.device)
        self.standing = Standing()
        self.report: Report | None = None
        self.signal: int | None = None
        self.scored = None if held_out is None else held_out.documents.first(recipe.generation_examples)
        self.beside: dict[str, dict[str, float]] = {}
        if self.scored:
            found = baselines(self.scored, model.settings.sentences)
            self.beside = {name: values_of(self.scored, chosen) for name, chosen in found.items()}
        if recipe.dropout is not None:
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = recipe.dropout

    def batches(self, lessons: Lessons) -> Batches:
        """Batches of documents of like lengths."""
        lengths = lessons.lengths
        return Batches(lengths, np.zeros_like(lengths), self.recipe.batch_size, None, 1, self.recipe.seed)

    def go(self, interrupts: Interrupts, reporter: Reporter) -> None:
        """Trains to the end, or until a signal comes; what is best is saved after each epoch."""
        began, standing, done = time.monotonic(), self.standing, 0.0
        self.model.train()
        reporter.begin(0.0)
        batches = self.batches(self.lessons)
        while done < 1.0:
            steps = batches.epoch(standing.epoch)
            for at, (index,) in enumerate(steps, 1):
                before = time.monotonic()
                after = progress(self.recipe, standing.epoch + at / len(steps), standing.step + 1, before - began)
                self.step(index, Moment(standing.step, done, after))
                done, standing.seconds = after, time.monotonic() - began
                rates = learning_rates(self.optimiser)
                standing.note(rates)
                pace = time.monotonic() - before
                reporter.step(standing.step, done, standing.losses[-1], max(rates.values()), len(index), pace)
                if interrupts.received:
                    self.signal = int(interrupts.received)
                    self.show("stopped")
                    return
                if done >= 1.0:
                    break
            standing.epoch += 1
            self.look(reporter)
            self.show("running" if done < 1.0 else "done")

    def step(self, index: Rows, moment: Moment) -> None:
        """One update of the weights. Raises ConjoinError, before any has changed, where the loss is no finite number."""
        batch = self.model.batch([self.lessons.read[i] for i in index.tolist()])
        with arithmetic(self.recipe.precision, self.model.device):
            loss: Tensor = self.model(**batch, labels=self.lessons.labels(index).to(self.model.device))
        loss.backward()  # type: ignore[no-untyped-call]
        value, number = float(loss.detach()), self.standing.step + 1
        if not np.isfinite(value):
            raise ConjoinError(f"training stopped at step {number}: the loss is {value:g}; lower the learning rates.")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm or float("inf"))
        set_learning_rates(self.optimiser, self.recipe, moment)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.standing.losses.append(value)
        self.standing.step = number

    @torch.no_grad()
    def judged(self, lessons: Lessons) -> tuple[float, list[list[float]]]:
        """The mean loss over all sentences of documents, and the scores of each document's, 0 to 1."""
        self.model.eval()
        total = 0.0
        found: dict[int, list[float]] = {}
        for index in self.batches(lessons).in_order():
            batch = self.model.batch([lessons.read[i] for i in index.tolist()])
            with arithmetic(self.recipe.precision, self.model.device):
                scores: Tensor = self.model(**batch)
            total += float(sentence_loss(scores, lessons.labels(index).to(self.model.device), batch["places"] >= 0))
            found.update(zip(index.tolist(), scores.sigmoid().tolist(), strict=True))
        self.model.train()
        counts = [len(one.places) for one in lessons.read]
        return total / sum(counts), [found[i][:count] for i, count in enumerate(counts)]

    def evaluate(self) -> tuple[dict[str, float], list[list[float]]]:
        """The loss of the documents that are held out, scores of the sentences chosen of some, and those of sentences."""
        loss, scores = self.judged(self.seen)
        values = {}
        if self.scored:
            own = self.scored.sentences
            values = values_of(self.scored, self.model.best(own, scores[: len(own)]))
        return {**values, LOSS: loss}, scores

    def look(self, reporter: Reporter) -> None:
        """After an epoch: what the model is worth, and it is saved if it is the best so far, or where none can be told."""
        standing, better = self.standing, True
        scores: list[list[float]] = []
        if self.held_out is not None:
            found, scores = self.evaluate()
            standing.evaluations.append({"step": standing.step, **found})
            better = improves({LOSS: found[LOSS]}, None if standing.best is None else {LOSS: standing.best["value"]})
            if better:
                standing.best = {"step": standing.step, "metric": LOSS, "value": found[LOSS], "scores": found}
            told = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            reporter.say(f"After step {standing.step}: {told}{', the best so far' if better else ''}.")
        elif self.report is not None:
            _, scores = self.judged(self.seen)
        self.save(better)
        if better and self.report is not None:
            self.report.read(scores)

    def show(self, state: State) -> None:
        """Writes the report, if there is one; on the way where it is due."""
        if self.report is not None and (state != "running" or self.report.publisher.due(self.standing.seconds)):
            self.report.write(self.standing, state, self.beside)

    def facts(self) -> dict[str, Any]:
        """What the run did."""
        standing = self.standing
        return {
            "steps": standing.step,
            "seconds": standing.seconds,
            "losses": standing.losses,
            "evaluations": standing.evaluations,
            "beside": self.beside,
            "signal": self.signal,
        }

    def save(self, better: bool) -> None:
        """Puts the facts of the run into the output folder, and where it is `better` than the one there the model."""
        known = {k: v for k, v in self.facts().items() if k not in ("losses", "signal")}
        with atomic_folder(self.output) as made:
            if better:
                self.model.save_pretrained(made)
            document = json.dumps({"recipe": self.recipe.to_dict(), **known}, indent=2)
            (made / RESULT_FILE).write_text(document + "\n", encoding="utf-8")
            (made / RECIPE_FILE).write_text(written(self.recipe), encoding="utf-8")


def groups_of(model: Extractor, recipe: Recipe) -> list[dict[str, Any]]:
    """The recipe's group "encoder" for the encoder, and "new" for the head; vectors are not decayed."""
    parts: dict[GroupName, torch.nn.Module] = {"encoder": model.encoder, "new": model.head}
    return [
        {
            "params": [p for p in part.parameters() if (p.ndim > 1) == decayed],
            "name": name,
            "waits": False,
            "base_rate": recipe.group(name).learning_rate or 0.0,
            "weight_decay": (recipe.group(name).weight_decay or 0.0) * decayed,
        }
        for name, part in parts.items()
        for decayed in (True, False)
    ]
