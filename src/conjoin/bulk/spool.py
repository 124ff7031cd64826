"""The answers of a run that is not done yet, in a file beside its output, which survive the run.

Its first line says of what run they are; each further one holds the answers to a window of items, and a digest of their
sources. Only whole lines count, so that a run can be killed at any moment.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from conjoin.bulk.sources import Item
from conjoin.errors import DataError

__all__ = ["Spool", "digest", "opened_spool"]

MARK = "conjoin generate"


def digest(items: Sequence[Item]) -> str:
    """A short text that is another for other sources."""
    found = hashlib.blake2b(digest_size=12)
    for item in items:
        source = (item.source or "").encode()
        found.update(len(source).to_bytes(8, "little") + source)
    return found.hexdigest()


class Spool:
    """The file, open and ours alone: `begin` it first."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.empty = not file.read(1)  # of answers

    def begin(self, run: dict[str, Any]) -> None:
        """Says of what run the answers are, by the name of each thing that they depend on.

        Raises DataError where those that are there already are of another run.
        """
        run = json.loads(json.dumps({"of": MARK, **run}, default=str))
        self.file.seek(0)
        first = self.file.readline()
        if first.endswith(b"\n") or not json.dumps(run).encode().startswith(first):
            self.compare(first, run)
        else:  # new, or killed while it wrote this line
            self.file.truncate(0)
            self.file.seek(0)
            self.add(run)
        self.empty = not self.file.read(1)

    def compare(self, first: bytes, run: dict[str, Any]) -> None:
        """Raises DataError where the first line is of another run, or none of ours."""
        try:
            found = json.loads(first)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.get("of") != MARK:
            raise DataError(f'"{self.path}" is in the way: it is no work of conjoin generate; name another --output.')
        for name in [*run, *found]:
            if found.get(name) != run.get(name):
                was, now = (f"{name} {json.dumps(one.get(name), ensure_ascii=False)}" for one in (found, run))
                change = "another model" if name == "model" else f"{was}, and now it is {now}"
                raise DataError(
                    f'"{self.path}" was begun with {change}; give the same again to go on, or delete that file to begin anew.'
                )

    def windows(self) -> Iterator[tuple[str, list[str]]]:
        """For each window its digest and its answers; what was half written after the last is cut off.

        Raises DataError for a line that is none of ours.
        """
        self.file.seek(0)
        end = len(self.file.readline())
        while (line := self.file.readline()).endswith(b"\n"):
            try:
                found, texts = json.loads(line)
            except (ValueError, TypeError):
                raise DataError(f'"{self.path}" is broken at byte {end}; delete it to begin anew.') from None
            end += len(line)
            yield found, texts
        self.file.truncate(end)
        self.file.seek(end)

    def append(self, items: Sequence[Item], texts: Sequence[str]) -> None:
        """Adds the answers to a window, which are on the disk when this returns."""
        self.add([digest(items), list(texts)])
        self.empty = False

    def add(self, line: Any) -> None:
        """Writes a line."""
        self.file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        self.file.flush()
        os.fsync(self.file.fileno())


@contextmanager
def opened_spool(path: Path) -> Iterator[Spool]:
    """A spool, which is gone when the block ends, and stays with what it has when the block raises.

    Raises DataError where another process has it, or it cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(f'"{path}" cannot be written: {error.strerror}.') from None
    with os.fdopen(handle, "r+b") as file:
        take(path, file)
        spool = Spool(path, file)
        try:
            yield spool
        except BaseException:
            if spool.empty:
                path.unlink()
            raise
        path.unlink()


def take(path: Path, file: BinaryIO) -> None:
    """Locks a file until this process ends, whatever ends it. Raises DataError where another has done so."""
    if sys.platform == "win32":  # which has no such lock
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DataError(f'another run is writing "{path}"; wait for it, or name another --output.') from None
