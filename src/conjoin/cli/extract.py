"""`conjoin extract`: the sentences that sum up each document of a file or of standard input, in order."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conjoin.bulk.lines import (
    chunks,
    count_lines,
    json_line,
    json_object,
    named,
    numbered_lines,
    opened_output,
    refuse_same,
    text_field,
)
from conjoin.bulk.sinks import LINE_BREAKS
from conjoin.bulk.sources import JSON_LINES, refuse_table
from conjoin.bulk.windows import BATCHES_AT_ONCE
from conjoin.cli.bars import bar
from conjoin.cli.options import Device, device_name
from conjoin.errors import DataError

if TYPE_CHECKING:
    from conjoin.extraction import Extractor

__all__ = ["extract"]


@dataclass(frozen=True)
class Item:
    """A line that was read: where it stands, its document, and for JSON lines its fields."""

    where: str
    document: str | list[str]
    fields: dict[str, Any] | None


def extract(
    model: Annotated[
        str, typer.Argument(metavar="DIR", help="A folder of an extractor, or its hub id.", show_default=False)
    ],
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="One document a line; - is standard input.")] = "-",
    output: Annotated[
        str, typer.Option("--output", "-o", help="A file that appears when all is done; - is standard output.")
    ] = "-",
    source_column: Annotated[str, typer.Option(help="JSON lines: the field to read.")] = "document",
    output_column: Annotated[
        str, typer.Option(help="JSON lines: the field to add, a list of sentences.")
    ] = "extracted",
    sentences: Annotated[
        int | None, typer.Option(min=1, help="How many. [default: the model's]", show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Documents at once.")] = 16,
    device: Device = None,
) -> None:
    """Choose the sentences that sum up each document, as `conjoin train --extractive` taught a model to.

    A line is a text, or a JSON object (in files named .jsonl or .json, or where standard input begins with {) whose field is a
    text or a list of sentences. What does not fit into the encoder's positions is not chosen from.
    """
    refuse_same(file, output)
    items = read(file, source_column, output_column)
    first = list(islice(items, 1))  # a mistake in the first line comes before the wait for the model
    with opened_output(output) as out:
        from conjoin.extraction import Extractor

        extractor = Extractor.from_pretrained(model, device=device_name(device))
        with progress_bar(file) as advance:
            for chunk in chunks(chain(first, items), BATCHES_AT_ONCE * batch_size):
                for line in answers(extractor, chunk, sentences, batch_size, output_column):
                    out.write((line + "\n").encode())
                out.flush()
                advance(len(chunk))


def read(file: str, source_column: str, output_column: str) -> Iterator[Item]:
    """The documents of a file. Raises DataError, naming the line, for what is none."""
    refuse_table(file, "convert it")
    as_json = JSON_LINES.search(file) is not None
    for number, line in numbered_lines(file):
        where = f"line {number} of {named(file)}"
        as_json = as_json or (number == 1 and file == "-" and line.startswith("{"))
        if not as_json or not line.strip():
            yield Item(where, line, None)
            continue
        row = json_object(line, where)
        if output_column in row:
            raise DataError(f'{where} has a field "{output_column}" already; name another with --output-column.')
        found = row.get(source_column)
        ready = found if isinstance(found, list) else text_field(row, source_column, where, "--source-column")
        yield Item(where, ready, row)


def answers(
    extractor: "Extractor", items: list[Item], count: int | None, batch_size: int, column: str
) -> Iterator[str]:
    """The line that answers each item. Raises DataError, naming the line, for a document without a sentence."""
    from conjoin.extraction.documents import sentences_of

    documents = [sentences_of(item.document, item.where, extractor.settings.language) for item in items]
    for item, own, numbers in zip(items, documents, extractor.chosen(documents, count, batch_size), strict=True):
        found = [own[i] for i in numbers]
        if item.fields is None:
            yield LINE_BREAKS.sub(" ", " ".join(found))
        else:
            yield json_line({**item.fields, column: found})


@contextmanager
def progress_bar(file: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal and nobody types; gives what to call with lines done."""
    if not sys.stderr.isatty() or (file == "-" and sys.stdin.isatty()):
        yield lambda count: None
        return
    with bar("Extracting", None if file == "-" else count_lines(file), "lines") as advance:
        yield advance
