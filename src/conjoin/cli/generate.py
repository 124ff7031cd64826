"""`conjoin generate`: a text for each line of a file or of standard input, in order, in constant memory."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from conjoin.cli.bars import bar
from conjoin.cli.lines import count_lines, json_object, named, numbered_lines, opened_output, text_field
from conjoin.cli.options import (
    BackendName,
    BatchSize,
    Device,
    DType,
    InChunks,
    LengthPenalty,
    MaxBatchTokens,
    MaxNewTokens,
    MinNewTokens,
    Model,
    NoRepeat,
    NumBeams,
    Repetition,
    Truncate,
    device_name,
)
from conjoin.errors import DataError, InputError

if TYPE_CHECKING:
    from conjoin.pipelines import Writer

__all__ = ["generate"]

# So many lines, or lines of so many batches, are read, sorted by length and written together.
LINES_AT_ONCE, BATCHES_AT_ONCE = 512, 8
SAMPLING = ("temperature", "top_k", "top_p")
Format = Literal["auto", "text", "jsonl"]
T = TypeVar("T")
JSON_LINES = re.compile(r"\.(jsonl|ndjson)(\.gz)?$")
LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")


@dataclass(frozen=True)
class Item:
    """A line that was read: its number, its source (None where it is empty), and for JSON lines its fields."""

    number: int
    source: str | None
    fields: dict[str, Any] | None = None


def generate(
    model: Model,
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="One source a line; - is standard input.")] = "-",
    output: Annotated[
        str, typer.Option("--output", "-o", help="A file that appears when all is done; - is standard output.")
    ] = "-",
    form: Annotated[
        Format,
        typer.Option("--format", help="auto: JSON lines by the file's name, or where standard input begins with {."),
    ] = "auto",
    source_column: Annotated[str, typer.Option(help="JSON lines: the field to read.")] = "document",
    output_column: Annotated[str, typer.Option(help="JSON lines: the field to add.")] = "generated",
    num_beams: NumBeams = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    repetition_penalty: Repetition = None,
    do_sample: Annotated[bool, typer.Option("--do-sample", help="Draw tokens at random.")] = False,
    temperature: Annotated[
        float | None, typer.Option(help="Of sampling: below 1 is bolder.", show_default=False)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Of sampling: only the k likeliest tokens.", show_default=False)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Of sampling: only the likeliest tokens of so much probability.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling: the same again.", show_default=False)] = None,
    skip_empty: Annotated[bool, typer.Option("--skip-empty", help="Answer an empty line with an empty line.")] = False,
    batch_size: BatchSize = None,
    max_batch_tokens: MaxBatchTokens = None,
    truncate: Truncate = False,
    encode_in_chunks: InChunks = None,
    device: Device = None,
    dtype: DType = None,
    backend: BackendName = "torch",
) -> None:
    """Write a text for each line of FILE, or of standard input.

    Lines come out in the order in which they went in. JSON lines keep their fields and get one more.
    """
    settings = {
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "encode_in_chunks": encode_in_chunks,
        "do_sample": do_sample or None,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    typed = file == "-" and sys.stdin.isatty()
    lines = Lines(file, form, source_column, output_column, skip_empty or typed)
    items = lines.items()
    # A mistake in the first line comes before the wait for the model.
    first = [] if typed else list(islice(items, 1))
    ahead = LINES_AT_ONCE if batch_size is None else BATCHES_AT_ONCE * batch_size
    at_once = 1 if typed else ahead  # whoever types wants an answer to each line
    options = {
        "batch_size": batch_size,
        "max_batch_tokens": max_batch_tokens,
        "truncation": truncate,
        "device": device_name(device),
        "dtype": dtype,
    }
    options["backend"] = backend
    with opened_output(output) as out:
        write = open_writer(model, given, options)
        if typed:
            print("Type a text and press Enter; Ctrl-D ends.", file=sys.stderr)
        with progress_bar(file) as advance:
            for chunk in chunks(chain(first, items), at_once):
                for item, text in zip(chunk, written(write, chunk, file), strict=True):
                    out.write((lines.answer(item, text) + "\n").encode())
                out.flush()
                advance(len(chunk))


@dataclass(frozen=True)
class Lines:
    """How the lines of a file are read and answered."""

    file: str
    form: Format
    source_column: str
    output_column: str
    skip_empty: bool

    def items(self) -> Iterator[Item]:
        """The lines one by one. Raises DataError, naming the line, for what cannot be a source."""
        as_json = self.form == "jsonl" or (self.form == "auto" and JSON_LINES.search(self.file) is not None)
        for number, line in numbered_lines(self.file):
            if number == 1 and self.form == "auto" and self.file == "-" and line.startswith("{"):
                as_json = True
            where = f"line {number} of {named(self.file)}"
            if line.strip() and as_json:
                row = json_object(line, where)
                if self.output_column in row:
                    raise DataError(
                        f'{where} has a field "{self.output_column}" already; name another with --output-column.'
                    )
                source = text_field(row, self.source_column, where, "--source-column")
                item = Item(number, source if source.strip() else None, row)
            else:
                item = Item(number, line if line.strip() else None)
            if item.source is None and not self.skip_empty:
                raise DataError(f"{where} is empty; a text was expected. --skip-empty answers it with an empty one.")
            yield item

    def answer(self, item: Item, text: str) -> str:
        """The line that answers one that was read."""
        if item.fields is None:
            return LINE_BREAKS.sub(" ", text)
        return json.dumps({**item.fields, self.output_column: text}, ensure_ascii=False)


def open_writer(model: str, settings: dict[str, Any], options: dict[str, Any]) -> "Writer":
    """The model, ready to write. Raises InputError for settings of sampling where nothing is sampled."""
    from conjoin import pipeline

    write: Writer = pipeline(model=model, **options, **settings)
    samples = settings.get("do_sample") or write.model.config.generation.do_sample
    for name in SAMPLING if not samples else ():
        if name in settings:
            raise InputError(f"--{name.replace('_', '-')} is a setting of sampling; add --do-sample.")
    return write


def written(write: "Writer", chunk: list[Item], file: str) -> list[str]:
    """The text for each item. Raises InputError, naming the line, for a source that is too long."""
    from conjoin.pipelines import SourceTooLongError

    asked = [item for item in chunk if item.source is not None]
    try:
        texts = iter(write([item.source or "" for item in asked]))
    except SourceTooLongError as error:
        raise InputError(
            f"line {asked[error.index].number} of {named(file)} has {error.tokens} tokens and the encoder has "
            f"positions for {error.limit}; shorten it, drop the end with --truncate, or read all of it in windows with "
            f"--encode-in-chunks."
        ) from None
    return ["" if item.source is None else next(texts) for item in chunk]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, `size` at a time."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


@contextmanager
def progress_bar(file: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal and nobody types; gives what to call with lines done."""
    if not sys.stderr.isatty() or (file == "-" and sys.stdin.isatty()):
        yield lambda count: None
        return
    with bar("Generating", None if file == "-" else count_lines(file), "lines") as advance:
        yield advance
