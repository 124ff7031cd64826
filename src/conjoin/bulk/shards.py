"""Files cut into parts that machines answer one by one, and the folder of their answers.

A part's answers are one file that appears whole, named by the part's number: a part that is answered twice, since a machine
was thought dead, is answered once, and what is there already need not be answered again.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conjoin.bulk.lines import opened_output
from conjoin.bulk.sinks import opened_sink, sink_form
from conjoin.bulk.sources import Form, Reading, Source, size_of
from conjoin.bulk.windows import Job, windows, written
from conjoin.errors import DataError

if TYPE_CHECKING:
    from conjoin.pipelines import Writer

__all__ = ["Shard", "answer_shard", "begin", "finish", "shards_of"]

BYTES, ROWS = 1 << 20, 1024  # of a part: some minutes of one processor, which is what a death costs
RUN, DONE = "_run.json", "_SUCCESS"  # as in Spark's folders: readers pass over names that begin so


@dataclass(frozen=True)
class Shard:
    """A part of a source, and the file of its answers."""

    source: Source
    output: Path

    @property
    def done(self) -> bool:
        """Whether its answers are there."""
        return self.output.exists()

    @property
    def size(self) -> int:
        """How much of its file it is."""
        return size_of(self.source) or 0


def shards_of(source: Source, folder: Path) -> list[Shard]:
    """The parts of a source, which is a file or a folder of files, in order. Raises DataError where there are none."""
    parts = [part for file in files_of(source.file) for part in cut(replace(source, file=file))]
    suffixes: dict[Form, str] = {"parquet": "parquet", "jsonl": "jsonl"}
    return [
        Shard(part, folder / f"part-{number:06}.{suffixes.get(part.shape, 'txt')}") for number, part in enumerate(parts)
    ]


def files_of(name: str) -> list[str]:
    """The file itself, or the files of a folder, sorted. Raises DataError where there is none."""
    path = Path(name)
    if path.is_file():
        return [name]
    if not path.is_dir():
        raise DataError(f'there is no file or folder "{name}".')
    found = [str(file) for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(("_", "."))]
    if not found:
        raise DataError(f'"{name}" has no files.')
    return found


def cut(source: Source) -> list[Source]:
    """The parts of one file; one that is packed by gzip has no parts."""
    size = size_of(source) or 0
    if source.file.endswith(".gz"):
        return [source]
    step = ROWS if source.shape == "parquet" else BYTES
    return [replace(source, start=at, end=min(at + step, size)) for at in range(0, size, step)]


def answer_shard(write: "Writer", job: Job, shard: Shard) -> int:
    """Answers a part, unless that was done; returns how many items it has had to answer."""
    if shard.done:
        return 0
    count = 0
    with (
        opened_output(str(shard.output)) as out,
        opened_sink(out, sink_form(shard.output.name, shard.source), shard.source) as sink,
    ):
        for window in windows(Reading(shard.source), job.window):
            sink.write(window, written(write, window, shard.source))
            count += len(window)
    return count


def begin(folder: Path, run: dict[str, object], shards: list[Shard]) -> None:
    """Makes the folder, and says in it of what run it is. Raises DataError where it is of another."""
    run = json.loads(json.dumps({**run, "parts": [[s.source.file, s.source.start, s.source.end] for s in shards]}))
    if not folder.exists():
        folder.mkdir(parents=True)
    if not folder.is_dir():
        raise DataError(f'"{folder}" is a file; a folder was expected.')
    if not (folder / RUN).exists():
        if any(folder.iterdir()):
            raise DataError(f'"{folder}" is not empty; name another --output.')
        with opened_output(str(folder / RUN)) as out:
            out.write((json.dumps(run) + "\n").encode())
    found = json.loads((folder / RUN).read_text(encoding="utf-8"))
    changed = [name for name in [*run, *found] if run.get(name) != found.get(name)]
    if changed:
        what = {"model": "another model", "parts": "other files"}.get(changed[0], f"another {changed[0]}")
        raise DataError(f'"{folder}" was begun with {what}; give the same to go on, or name another --output.')


def finish(folder: Path, shards: list[Shard]) -> None:
    """Says that all is there. Raises DataError where it is not."""
    gone = [shard.output.name for shard in shards if not shard.done]
    if gone:
        raise DataError(f'"{folder}" lacks {gone[0]}; is it a folder that all machines share?')
    with opened_output(str(folder / DONE)) as out:
        out.write(b"")
