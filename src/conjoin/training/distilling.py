"""Distillation of a joined model into one with a shallower decoder: shrink and fine-tune, on texts of people or the teacher.

Shrinking copies layers (Shleifer and Rush, https://arxiv.org/abs/2010.13002); learning from what the teacher writes of the
training sources, by beam search, is Kim and Rush's sequence-level distillation (https://arxiv.org/abs/1606.07947).
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from accelerate import PartialState

from conjoin.errors import CheckpointError, ConfigError, DataError
from conjoin.pipelines import pipeline
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.data import Pairs

__all__ = ["Targets", "check_targets", "taught", "teacher_texts"]

Targets = Literal["teacher", "pairs", "both"]
BATCHES_AT_ONCE = 16  # sorted by length together, and written together


def taught(
    model: EncoderDecoderModel,
    pairs: Pairs,
    targets: Targets,
    folder: Path,
    *,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> Pairs:
    """The pairs that a student learns from: these, the teacher's texts of their sources, or both.

    The teacher's texts are kept in `folder`, as `teacher_texts` says; `settings` are of its generation. Raises ConfigError
    for targets that are not known, DataError where the teacher writes nothing of any source.
    """
    check_targets(targets)
    if targets == "pairs":
        return pairs
    texts = teacher_texts(model, pairs, folder, batch_size=batch_size, progress=progress, **settings)
    # A source of which the teacher writes nothing teaches nothing.
    own = [(source, text) for source, text in zip(pairs.sources, texts, strict=True) if text.strip()]
    more = list(zip(pairs.sources, pairs.targets, strict=True)) if targets == "both" else []
    if not own and not more:
        raise DataError(
            f"the teacher writes nothing of any source of {pairs.name}; train it further, or learn from the pairs' own "
            f"targets: --targets pairs."
        )
    sources, wanted = zip(*own, *more, strict=True)
    return Pairs(list(sources), list(wanted), f"{pairs.name}, as the teacher writes them")


def check_targets(targets: object) -> None:
    """Raises ConfigError for targets that are not known."""
    if targets not in get_args(Targets):
        raise ConfigError(f"targets is {targets!r}; one of {', '.join(get_args(Targets))} was expected.")


def teacher_texts(
    model: EncoderDecoderModel,
    pairs: Pairs,
    folder: Path,
    *,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> list[str]:
    """What the teacher writes of each source, kept as JSON lines of "document" and "summary".

    The file is teacher-XXXXXXXX.jsonl in `folder`, its name a hash of the teacher, the settings and the sources: what was
    written before, of a run that was stopped too, is not written again. Sources too long for the encoder are cut, as in
    training. Raises CheckpointError where the file cannot be written, ConfigError in one of several processes.
    """
    file = folder / f"teacher-{fingerprint(model, settings, pairs.sources)}.jsonl"
    texts = written_before(file, pairs.sources)
    if progress is not None:
        progress(len(texts))
    if len(texts) == len(pairs):
        return texts
    if PartialState().num_processes > 1:
        raise ConfigError(f'the teacher writes in one process; run once without a launcher, until "{file}" is whole.')
    write = pipeline(model, batch_size=batch_size, truncation=True, **settings)
    size = BATCHES_AT_ONCE * batch_size
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as out:
            for at in range(len(texts), len(pairs), size):
                sources = pairs.sources[at : at + size]
                found = write(sources)
                lines = zip(sources, found, strict=True)
                out.write("".join(json.dumps({"document": s, "summary": t}) + "\n" for s, t in lines).encode())
                out.flush()
                os.fsync(out.fileno())
                texts += found
                if progress is not None:
                    progress(len(found))
    except OSError as error:
        raise CheckpointError(f'"{file}" could not be written ({error.strerror}); what it holds is kept.') from None
    return texts


def written_before(file: Path, sources: Sequence[str]) -> list[str]:
    """The texts that a file has of the first sources; a last line that is not whole is cut off.

    Raises DataError where it is of other sources.
    """
    if not file.exists():
        return []
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(file, len(whole))
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
        same = [row["document"] for row in rows] == list(sources[: len(rows)])
        texts = [str(row["summary"]) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'"{file}" is broken ({error}); delete it, and it is written again.') from None
    if not same:
        raise DataError(f'"{file}" is of other sources; delete it, and it is written again.')
    return texts


@torch.no_grad()
def fingerprint(model: EncoderDecoderModel, settings: dict[str, Any], sources: Sequence[str]) -> str:
    """A hash of a model's values and settings, of a call's, and of the sources."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    digest.update(json.dumps([model.config.generation.to_dict(), settings], sort_keys=True, default=str).encode())
    digest.update(json.dumps(list(sources)).encode())
    return digest.hexdigest()
