"""Training an extractor: documents and their summaries to a folder, the best of its epochs kept there; in one process."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conjoin.checkpoint import atomic_folder
from conjoin.errors import ConjoinError, DataError
from conjoin.extraction.documents import Documents
from conjoin.extraction.encoding import Encoded, rows
from conjoin.extraction.model import Extractor, Settings
from conjoin.extraction.oracle import oracle
from conjoin.torch.parts import Encoder
from conjoin.training.batches import Batches, Rows
from conjoin.training.interrupts import Interrupts
from conjoin.training.precision import arithmetic, chosen_precision
from conjoin.training.randomness import seed_all
from conjoin.training.recipe import RESULT_FILE, Recipe
from conjoin.training.recipes import RECIPE_FILE, written
from conjoin.training.reporter import Reporter
from conjoin.training.schedule import Moment, factor, progress
from conjoin.training.tables import GroupName

__all__ = ["Lessons", "extractor_for", "lessons_of", "train_extractor"]


@dataclass(frozen=True)
class Lessons:
    """Documents as the model reads them, and of each the sentences that are to be chosen."""

    documents: list[Encoded]
    chosen: list[list[int]]

    def labels(self, index: Rows) -> Tensor:
        """1 for each sentence that is to be chosen, 0 for the others and for what is no sentence: (B, N)."""
        marked = [[int(n in self.chosen[i]) for n in range(len(self.documents[i].places))] for i in index.tolist()]
        return rows(marked, 0)


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


def lessons_of(model: Extractor, documents: Documents) -> Lessons:
    """What a model is taught of documents, by the greedy oracle over the sentences that it has room for."""
    read = [model.encoded(sentences) for sentences in documents.sentences]
    sides = zip(read, documents.sentences, documents.summaries, strict=True)
    return Lessons(read, [oracle(own[: len(one.places)], summary) for one, own, summary in sides])


def train_extractor(
    model: Extractor,
    train_documents: Documents,
    validation_documents: Documents | None,
    recipe: Recipe,
    output_dir: str | Path,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains an extractor, and keeps in `output_dir` that of the best epoch by validation loss (the last, without one).

    Of the recipe it heeds the learning rates, warm-up and weight decay of the groups "encoder" and "new" (the head), the
    schedule, batch_size, max_grad_norm, AdamW's settings, dropout, precision, device, seed, and the ends epochs, max_steps
    and minutes. Returns steps, seconds, losses and evaluations. SIGTERM or Ctrl-C ends the run; what is in the folder is
    the best so far.

    Raises ConjoinError where the loss is no longer a number.
    """
    device = torch.device("cuda" if recipe.device == "auto" and torch.cuda.is_available() else "cpu")
    recipe = recipe.changed(precision=chosen_precision(recipe.precision, device))
    seed_all(recipe.seed)
    model.float().to(device)
    lessons = lessons_of(model, train_documents)
    held_out = None if validation_documents is None else lessons_of(model, validation_documents)
    run = Run(model, lessons, held_out, recipe, Path(output_dir))
    with Interrupts() as interrupts, Reporter(quiet) as reporter:
        run.go(interrupts, reporter)
    model.eval()
    return run.facts


class Run:
    """One run, and what it found."""

    def __init__(
        self, model: Extractor, lessons: Lessons, held_out: Lessons | None, recipe: Recipe, output: Path
    ) -> None:
        self.model, self.lessons, self.held_out, self.recipe, self.output = model, lessons, held_out, recipe, output
        self.optimiser = optimiser_of(model, recipe)
        self.facts: dict[str, Any] = {"steps": 0, "seconds": 0.0, "losses": [], "evaluations": [], "signal": None}
        self.best = float("inf")
        if recipe.dropout is not None:
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = recipe.dropout

    def batches(self, lessons: Lessons) -> Batches:
        """Batches of documents of like lengths."""
        lengths = np.asarray([len(one.ids) for one in lessons.documents])
        return Batches(lengths, np.zeros_like(lengths), self.recipe.batch_size, None, 1, self.recipe.seed)

    def go(self, interrupts: Interrupts, reporter: Reporter) -> None:
        """Trains to the end, or until a signal comes; what is best is saved after each epoch."""
        began, epoch, facts, done = time.monotonic(), 0, self.facts, 0.0
        self.model.train()
        reporter.begin(0.0)
        batches = self.batches(self.lessons)
        while done < 1.0:
            steps = batches.epoch(epoch)
            for at, (index,) in enumerate(steps, 1):
                before = time.monotonic()
                after = progress(self.recipe, epoch + at / len(steps), facts["steps"] + 1, before - began)
                self.step(index, Moment(facts["steps"], done, after))
                done, facts["seconds"] = after, time.monotonic() - began
                rate = max(group["lr"] for group in self.optimiser.param_groups)
                reporter.step(facts["steps"], done, facts["losses"][-1], rate, len(index), time.monotonic() - before)
                if interrupts.received:
                    facts["signal"] = int(interrupts.received)
                    return
                if done >= 1.0:
                    break
            epoch += 1
            self.look(reporter)

    def step(self, index: Rows, moment: Moment) -> None:
        """One update of the weights. Raises ConjoinError, before any has changed, where the loss is no finite number."""
        loss = self.loss(self.lessons, index)
        loss.backward()  # type: ignore[no-untyped-call]
        value, number = float(loss.detach()), self.facts["steps"] + 1
        if not np.isfinite(value):
            raise ConjoinError(f"training stopped at step {number}: the loss is {value:g}; lower the learning rates.")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm or float("inf"))
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_rate"] * factor(self.recipe, group["name"], False, moment)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.facts["losses"].append(value)
        self.facts["steps"] = number

    def loss(self, lessons: Lessons, index: Rows) -> Tensor:
        """The mean over the sentences of some documents."""
        batch = self.model.batch([lessons.documents[i] for i in index.tolist()])
        with arithmetic(self.recipe.precision, self.model.device):
            found: Tensor = self.model(**batch, labels=lessons.labels(index).to(self.model.device))
        return found

    @torch.no_grad()
    def validation_loss(self, lessons: Lessons) -> float:
        """The mean over all sentences of the documents that are held out."""
        total, count = 0.0, 0
        for index in self.batches(lessons).in_order():
            sentences = sum(len(lessons.documents[i].places) for i in index.tolist())
            total, count = total + float(self.loss(lessons, index)) * sentences, count + sentences
        return total / count

    def look(self, reporter: Reporter) -> None:
        """After an epoch: its validation loss, and the model is saved if it is the best so far."""
        found = -float(self.facts["steps"])  # without validation the last is the best
        if self.held_out is not None:
            self.model.eval()
            found = self.validation_loss(self.held_out)
            self.model.train()
            self.facts["evaluations"].append({"step": self.facts["steps"], "loss": found})
        better = found < self.best
        if better:
            self.best = found
            self.save()
        if self.held_out is not None:
            told = ", the best so far" if better else ""
            reporter.say(f"After step {self.facts['steps']}: loss {found:.4g}{told}.")

    def save(self) -> None:
        """Puts the model and the facts of its run into the output folder."""
        known = {
            "recipe": self.recipe.to_dict(),
            **{k: v for k, v in self.facts.items() if k not in ("losses", "signal")},
        }
        with atomic_folder(self.output) as made:
            self.model.save_pretrained(made)
            (made / RESULT_FILE).write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
            (made / RECIPE_FILE).write_text(written(self.recipe), encoding="utf-8")


def optimiser_of(model: Extractor, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with the recipe's group "encoder" for the encoder, and "new" for the head; vectors are not decayed."""
    parts: dict[GroupName, torch.nn.Module] = {"encoder": model.encoder, "new": model.head}
    groups = [
        {
            "params": [p for p in part.parameters() if (p.ndim > 1) == decayed],
            "name": name,
            "base_rate": recipe.group(name).learning_rate or 0.0,
            "weight_decay": (recipe.group(name).weight_decay or 0.0) * decayed,
        }
        for name, part in parts.items()
        for decayed in (True, False)
    ]
    betas = recipe.adam_beta1, recipe.adam_beta2
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, eps=recipe.adam_epsilon)
