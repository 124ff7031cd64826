"""Token ids kept on disk by content: the same texts, tokenizers and limits are read once, and then loaded.

A file's name is a hash of everything that its ids depend on, so that it never goes stale. It appears whole or not at all, and
one that is broken is made anew. Files are in `$CONJOIN_CACHE`, or `conjoin` in `$XDG_CACHE_HOME`, or in ~/.cache.
"""

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conjoin.model import JoinedModel
from conjoin.training.data import Pairs
from conjoin.training.tokenise import Examples, Ids, Limits, end_token, tokenise

__all__ = ["cache_folder", "remembered"]

logger = logging.getLogger("conjoin")
FORM = b"1"  # of the files, and of how texts become ids
WORTH = 2000  # pairs; fewer are read in a moment
KEPT = 20  # files, those that were used last


def cache_folder() -> Path:
    """Where the files are."""
    own = os.environ.get("CONJOIN_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "conjoin"


def remembered(model: JoinedModel, pairs: Pairs, limits: Limits) -> Examples:
    """What `tokenise` makes, from the disk where it was made before. Raises as `tokenise` does.

    Where nothing can be read or written it is made without.
    """
    if len(pairs) < WORTH or model.tokenizers is None:
        return tokenise(model, pairs, limits)
    path = cache_folder() / "tokens" / f"{key(model, pairs, limits)}.npz"
    found = opened(path, limits)
    if found is None:
        found = tokenise(model, pairs, limits)
        keep(path, found)
    return found


def key(model: JoinedModel, pairs: Pairs, limits: Limits) -> str:
    """A hash of all that the ids depend on."""
    generation = model.config.generation
    tokens = model.start_token(), generation.forced_bos_token_id, end_token(model)
    digest = hashlib.blake2b(digest_size=20)
    for part in (FORM, repr((tokens, limits, len(pairs))).encode(), tokenizer_bytes(model)):
        digest.update(len(part).to_bytes(8, "little") + part)
    for text in (*pairs.sources, *pairs.targets):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def tokenizer_bytes(model: JoinedModel) -> bytes:
    """All that both tokenizers are: the files that they are saved as."""
    assert model.tokenizers is not None
    with tempfile.TemporaryDirectory() as folder:
        model.tokenizers.save_pretrained(folder)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return b"".join(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() for path in files)


def opened(path: Path, limits: Limits) -> Examples | None:
    """What `keep` wrote; None where it is not there, or broken."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("sources", "source_lengths", "labels", "label_lengths", "cut")}
            whole = str(file["digest"]) == checksum(arrays.values())
        if not whole:
            raise ValueError("its checksum is another")
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.info('"%s" cannot be used (%s); it is made anew.', path, error)
        return None
    sources = rows(arrays["sources"], arrays["source_lengths"])
    labels = rows(arrays["labels"], arrays["label_lengths"])
    return Examples(sources, labels, limits, *(int(number) for number in arrays["cut"]))


def keep(path: Path, examples: Examples) -> None:
    """Writes the ids, and removes what was not used for long."""
    arrays = {
        "sources": np.concatenate(examples.sources),
        "source_lengths": examples.source_lengths,
        "labels": np.concatenate(examples.labels),
        "label_lengths": examples.label_lengths,
        "cut": np.asarray([examples.cut_sources, examples.cut_labels]),
    }
    made = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(made, digest=checksum(arrays.values()), **arrays)  # type: ignore[arg-type]
        os.replace(made, path)
        for old in sorted(path.parent.glob("*.npz"), key=lambda one: -one.stat().st_mtime)[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        logger.info('"%s" cannot be written (%s); the next run reads all texts again.', path, error)
        with suppress(OSError):
            made.unlink()


def rows(ids: Ids, lengths: NDArray[np.int64]) -> list[Ids]:
    """The ids of each row."""
    return list(np.split(ids, np.cumsum(lengths)[:-1]))


def checksum(arrays: Iterable[NDArray[np.generic]]) -> str:
    """A hash of arrays."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
