"""Training checkpoints: folders that appear whole or not at all, from which a run goes on exactly where it was.

output/checkpoints/step-N/ holds the model, as save_pretrained writes it, with optimiser.pt (the optimiser's
state, each tensor whole) and state.json (position, scores, recipe) beside it: the schedule and whatever is drawn at
random follow from the position and the seed. Whatever is being written or deleted there has a name that
begins with a dot, and is swept away by the next run.
"""

import copy
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conjoin.checkpoint import merge, require_space, sync
from conjoin.config import read_json
from conjoin.errors import CheckpointError
from conjoin.torch.custom import CustomEncoder
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.locking import locked

__all__ = ["Checkpoints", "Standing", "bytes_needed", "load_weights", "opened"]

PREFIX = "step-"
STEP = re.compile(rf"^{PREFIX}(\d+)$")
STATE_FILE, OPTIMISER_FILE = "state.json", "optimiser.pt"
STEPS_NOTED, STEPS_A_NOTE = 100, 10  # learning rates: of all steps at first, then of each tenth
MARGIN = 1.05
SMALL_FILES = 50_000_000  # bytes, for tokenizers and configs

# What unpickling a broken file was seen to raise.
WRONG_BYTES = (AttributeError, LookupError, TypeError, ValueError)
UNREADABLE = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, *WRONG_BYTES)


@dataclass
class Standing:
    """How far a run is, and what it found on the way."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    seconds: float = 0.0
    best: dict[str, Any] | None = None  # step, metric and value
    losses: list[float] = field(default_factory=list)  # of each step, the mean over its target tokens
    rates: list[dict[str, float]] = field(default_factory=list)  # "step", and rates by group, of some of the steps
    evaluations: list[dict[str, float]] = field(default_factory=list)

    def note(self, rates: dict[str, float]) -> None:
        """Keeps the learning rates of the present step, if it is one of those whose rates are kept."""
        if self.step <= STEPS_NOTED or self.step % STEPS_A_NOTE == 0:
            self.rates.append({"step": self.step, **rates})


STANDING = tuple(one.name for one in fields(Standing))


class Checkpoints:
    """The checkpoints of one output folder; `keep` of the newest are kept, and the best."""

    def __init__(self, output: Path, keep: int) -> None:
        self.output, self.keep = output, keep
        self.folder = output / "checkpoints"

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"{PREFIX}{step}"

    def steps(self) -> list[int]:
        """The steps from which training can go on, in order; of an old best one only the model is left."""
        whole = [path for path in self.folders() if (path / OPTIMISER_FILE).is_file() and (path / STATE_FILE).is_file()]
        return [int(path.name.removeprefix(PREFIX)) for path in whole]

    def folders(self) -> list[Path]:
        """All checkpoints, in order, with an old best one."""
        if not self.folder.is_dir():
            return []
        found = [(int(match[1]), path) for path in self.folder.iterdir() if (match := STEP.match(path.name))]
        return [path for _, path in sorted(found)]

    @contextmanager
    def held(self, needed: int, fresh: bool) -> Iterator[None]:
        """The folder, made and free of what an interrupted run left, held against other runs while the block lasts.

        With `fresh` all checkpoints are removed. Raises CheckpointError where the folder cannot be made, its disk has no
        room for `needed` bytes, or another run holds it.
        """
        self.make(needed)
        with locked(self.output):
            self.tidy(fresh)
            yield

    def make(self, needed: int) -> None:
        """Makes the folder, if there is room."""
        for path in (self.output, self.folder):
            if path.exists() and not path.is_dir():
                raise CheckpointError(f'"{path}" is a file; a folder to save in was expected.')
        require_space(self.output, max(needed - size_of(self.folder), needed // (self.keep + 3)))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f'"{self.folder}" cannot be written: {error.strerror}.') from None

    def tidy(self, fresh: bool) -> None:
        """Removes what was half written or half deleted, and all checkpoints where the run is to start afresh."""
        try:
            for path in self.folder.glob(".*"):
                remove(path)
            if fresh:
                for path in self.folders():
                    self.delete(path)
        except OSError as error:
            raise CheckpointError(f'"{self.folder}" cannot be written: {error.strerror}.') from None

    def save(self, write: Callable[[Path], None], state: dict[str, Any], tensors: dict[str, Any]) -> Path:
        """Writes the checkpoint of state["standing"]["step"], its model by `write`.

        Raises CheckpointError where it cannot be written.
        """
        step: int = state["standing"]["step"]
        made, target = self.folder / f".step-{step}.part", self.path(step)
        remove(made)
        with others_stay(made):
            write(made)
        try:
            torch.save(tensors, made / OPTIMISER_FILE)
            (made / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
            sync(made)
            if target.exists():
                self.delete(target)
            os.rename(made, target)
            sync_folder(self.folder)
        except (OSError, RuntimeError) as error:  # torch's writer tells of a full disk by RuntimeError
            remove(made)
            reason = error if isinstance(error, OSError) else "is the disk full?"
            raise CheckpointError(
                f'"{target}" could not be written ({reason}); earlier checkpoints are unchanged.'
            ) from None
        return target

    def prune(self, best: int | None) -> None:
        """Deletes all but the newest and the best, of which only the model stays once it is old."""
        newest = self.steps()[-self.keep :]
        for path in self.folders():
            step = int(path.name.removeprefix(PREFIX))
            if step in newest:
                continue
            if step == best:
                (path / OPTIMISER_FILE).unlink(missing_ok=True)
            else:
                self.delete(path)

    def delete(self, path: Path) -> None:
        """Removes a folder; under its own name it is never seen in pieces."""
        gone = path.with_name(f".{path.name}.old")
        remove(gone)
        os.rename(path, gone)
        remove(gone)

    def load(self, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `save` was given: state and tensors. Raises CheckpointError for a broken file."""
        path = self.path(step)
        with remedied(path):
            try:
                tensors: Any = torch.load(path / OPTIMISER_FILE, map_location="cpu", weights_only=True)
            except UNREADABLE as error:
                first = str(error).strip().split("\n")[0].partition(". ")[0]
                raise CheckpointError(f'"{path / OPTIMISER_FILE}" is broken ({first}).') from None
            state = read_json(path / STATE_FILE)
            expect_names(path / OPTIMISER_FILE, tensors, ("optimiser", "losses"))
            expect_names(path / STATE_FILE, state, ("recipe", "batches_a_step", "data", "new_parameters", "standing"))
            expect_names(path / STATE_FILE, state["standing"], STANDING)
        return state, tensors

    def publish(self, model: EncoderDecoderModel, documents: dict[str, str], folder: Path) -> None:
        """Puts the model, text files by their names, and a folder where it is there, into the output folder itself.

        At every moment the folder has no config.json, and so is no model, or all of one. Raises CheckpointError where it
        cannot be written.
        """
        made = self.folder / ".final.part"
        remove(made)
        with others_stay(made):
            model.save_pretrained(made)
        try:
            for name, text in documents.items():
                (made / name).write_text(text, encoding="utf-8")
            if folder.is_dir():
                shutil.copytree(folder, made / folder.name)
            sync(made)
            merge(made, self.output)
            sync_folder(self.output)
            remove(made)
        except OSError as error:
            raise CheckpointError(
                f'"{self.output}" could not be written ({error}); the checkpoints are unchanged: make room, and give the '
                f"same command again."
            ) from None


def bytes_needed(model: EncoderDecoderModel, keep: int) -> int:
    """Room for a run: the newest checkpoints and the one being written, the best model, and the final one, in bytes."""
    weights = 4 * model.num_parameters()
    optimiser = 2 * 4 * model.num_parameters(only_trainable=True)
    whole = (keep + 1) * (weights + optimiser + SMALL_FILES) + 2 * (weights + SMALL_FILES)
    return int(MARGIN * whole)


@torch.no_grad()
def load_weights(model: EncoderDecoderModel, folder: Path) -> None:
    """Copies the weights of a saved model into one of the same shape, in place.

    Raises CheckpointError where they do not fit.
    """
    there: dict[str, Tensor] = opened(model, folder).state_dict()
    own: dict[str, Tensor] = model.state_dict()
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in there.items()}:
        raise CheckpointError(
            f'"{folder}" holds another model than the one to be trained; choose another output folder, or start again '
            f"with resume=False (--no-resume)."
        )
    for name, tensor in own.items():
        tensor.copy_(there[name])


def opened(model: EncoderDecoderModel, folder: Path) -> EncoderDecoderModel:
    """The model of a checkpoint, in float32; an encoder of the user's own is another of the one to be trained."""
    encoder = copy.deepcopy(model.encoder.module) if isinstance(model.encoder, CustomEncoder) else None
    with remedied(folder):
        return EncoderDecoderModel.from_pretrained(folder, encoder=encoder, dtype="float32")


@contextmanager
def others_stay(made: Path) -> Iterator[None]:
    """Adds to what is said of a model that cannot be written how to go on, and leaves nothing of it."""
    try:
        yield
    except CheckpointError as error:
        remove(made)
        raise CheckpointError(
            f"{error} The checkpoints are unchanged: make room, and the same command goes on from them."
        ) from None


@contextmanager
def remedied(folder: Path) -> Iterator[None]:
    """Adds to what is said of a broken checkpoint how to go on."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(
            f'{error} Delete "{folder}": the same command then goes on from the checkpoint before, or begins again.'
        ) from None


def expect_names(path: Path, found: Any, names: Iterable[str]) -> None:
    """Raises CheckpointError unless what a file holds has these."""
    missing = [name for name in names if not isinstance(found, dict) or name not in found]
    if missing:
        raise CheckpointError(f'"{path}" is broken (it has no "{missing[0]}").')


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder; 0 where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Waits until a folder's own entries are on the disk, where the system can say."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
