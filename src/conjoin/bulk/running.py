"""One file on this machine: straight through, or by way of a spool, so that a run that was killed goes on."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from conjoin.bulk.identity import identity
from conjoin.bulk.lines import is_ordinary, opened_output, refuse_same, replacing
from conjoin.bulk.sinks import Nowhere, Sink, opened_sink, sink_form
from conjoin.bulk.sources import Form, Item, Reading, Source
from conjoin.bulk.spool import Spool, digest, opened_spool
from conjoin.bulk.windows import Job, windows, written
from conjoin.errors import ConjoinError, DataError

if TYPE_CHECKING:
    from conjoin.pipelines import Writer

__all__ = ["Progress", "answered", "run_of"]

# Given how much there is to read, where that is known, it gives what to call with how far one is and how many items are done.
Progress = Callable[[int | None], AbstractContextManager[Callable[[int, int], None]]]


def answered(job: Job, source: Source, output: str, progress: Progress, *, typed: bool = False) -> None:
    """Answers a source into `output`. Where both are files, a run that was killed goes on.

    Where it is `typed`, each line is answered at once. Raises the errors that a user can mend; those of the first line
    before the model is loaded.
    """
    refuse_same(source.file, output)
    form = sink_form(output, source)
    reading = Reading(source)
    items = iter(reading)
    items = chain([] if typed else list(islice(items, 1)), items)
    if is_ordinary(source.file) and is_ordinary(output):
        with opened_spool(Path(f"{output}.part")) as spool:
            write = job.opened()
            samples = bool(job.settings.get("do_sample") or write.model.config.generation.do_sample)
            spool.begin(run_of(job, source, samples=samples))
            with progress(reading.size) as shown, opened_sink(cast(BinaryIO, Nowhere()), form, source) as tried:
                go_on(spool, write, reading, items, shown, job.window, tried)
            joined(spool, source, output, form)
        return
    with opened_output(output) as out:
        write = job.opened()
        with opened_sink(out, form, source) as sink, progress(reading.size) as shown:
            for window in windows(items, 1 if typed else job.window):
                sink.write(window, written(write, window, source))
                shown(reading.at, len(window))


def run_of(job: Job, source: Source, *, samples: bool) -> dict[str, object]:
    """What answers depend on, beside the sources themselves."""
    options = {name: job.options[name] for name in ("truncation", "dtype", "backend")}
    batches = {name: job.options[name] for name in ("batch_size", "max_batch_tokens")}
    return {
        "model": identity(job.model),
        **job.settings,
        **options,
        **(batches if samples else {}),  # draws are a batch's
        "format": source.shape,
        "source_column": source.source_column,
    }


def go_on(
    spool: Spool,
    write: "Writer",
    reading: Reading,
    items: Iterable[Item],
    shown: Callable[[int, int], None],
    size: int,
    tried: Sink,
) -> None:
    """Answers what the spool does not have yet, which is all of a source at first.

    Rows are `tried` before they are answered, so that one that the output cannot hold is not found at the end of all work.
    """
    items = iter(items)
    for window, texts in answers(spool, items, reading.source):
        tried.write(window, texts)
        shown(reading.at, 0)
    try:
        for window in windows(items, size):
            tried.write(window, [""] * len(window))
            spool.append(window, written(write, window, reading.source))
            shown(reading.at, len(window))
    except ConjoinError as error:
        if not spool.empty:
            error.add_note(f'What was written is in "{spool.path}"; the same command goes on from there.')
        raise


def answers(spool: Spool, items: Iterable[Item], source: Source) -> Iterator[tuple[list[Item], list[str]]]:
    """The windows that are answered already. Raises DataError where they no longer stand in the source."""
    items = iter(items)
    for found, texts in spool.windows():
        window = list(islice(items, len(texts)))
        if digest(window) != found:
            last = f"up to {source.where(window[-1].number)}" if window else f'at the end of "{source.file}"'
            raise DataError(
                f'{last} the sources are no longer those that "{spool.path}" has answers to; give the same file to go '
                f"on, or delete that one to begin anew."
            )
        yield window, texts


def joined(spool: Spool, source: Source, output: str, form: Form) -> None:
    """Writes the output, whole, of the source and its answers."""
    target = Path(output).resolve()
    with (
        replacing(target, target.with_name(f".{target.name}.whole")) as out,
        opened_sink(out, form, source) as sink,
    ):
        for window, texts in answers(spool, iter(Reading(source)), source):
            sink.write(window, texts)
