"""What is read, item by item: lines of text, JSON lines, rows of Parquet; all of a file or a part of it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from conjoin.bulk.lines import (
    BYTE_ORDER_MARK,
    STANDARD,
    decoded,
    json_object,
    named,
    opened_input,
    read_line,
    text_field,
)
from conjoin.errors import DataError

__all__ = [
    "JSON_LINES",
    "Form",
    "Item",
    "Reading",
    "Source",
    "form_of",
    "parquet",
    "parquet_file",
    "refuse_table",
    "size_of",
]

Form = Literal["auto", "text", "jsonl", "parquet"]
JSON_LINES = re.compile(r"\.(jsonl|ndjson|json)(\.gz)?$", re.IGNORECASE)
TEXT = re.compile(r"\.txt(\.gz)?$", re.IGNORECASE)
TABLE = re.compile(r"\.(csv|tsv)(\.gz)?$", re.IGNORECASE)  # whose lines are no texts
ROWS_AT_ONCE = 64  # of a Parquet file


def form_of(file: str) -> Form:
    """How a file is read, or written, by its name; "auto" where the name does not say."""
    if file.lower().endswith(".parquet"):
        return "parquet"
    if TEXT.search(file):
        return "text"
    return "jsonl" if JSON_LINES.search(file) else "auto"


def refuse_table(file: str, do: str) -> None:
    """Raises DataError for a table by its name, of which each line would else be read as a text; says what to do."""
    if TABLE.search(file):
        raise DataError(f'"{file}" is a table; a text a line, JSON lines or Parquet were expected: {do}.')


@dataclass(frozen=True)
class Item:
    """A line or a row that was read: its number, its source (None where it is empty), and the fields of a row."""

    number: int
    source: str | None
    fields: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file, or a part of one from `start` to `end`, and how it is read.

    Of lines a part is counted in bytes: it has the lines that begin in it. Of Parquet it is counted in rows.
    """

    file: str
    form: Form = "auto"
    source_column: str = "document"
    output_column: str = "generated"
    skip_empty: bool = False
    start: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        """Raises DataError for what cannot be read so, and where the answer would take the source's place."""
        if self.source_column == self.output_column:
            raise DataError(f'--source-column and --output-column are both "{self.source_column}"; name two fields.')
        if self.form == "parquet" and self.file == STANDARD:
            raise DataError("Parquet is not read from standard input, where nobody can go back; name a file.")
        if self.form == "auto":
            refuse_table(self.file, "convert it, or read each of its lines as a text with --format text")

    @property
    def shape(self) -> Form:
        """The form that was asked for, or else the one that the file's name says."""
        return form_of(self.file) if self.form == "auto" else self.form

    def where(self, number: int) -> str:
        """What to call a line or a row in a message."""
        if self.shape == "parquet":
            return f"row {number} of {named(self.file)}"
        return f"line {number} {f'after byte {self.start} ' if self.start else ''}of {named(self.file)}"

    def row(self, number: int, row: dict[str, Any]) -> Item:
        """A row as an item. Raises DataError for one that has no text to read, or no place for the answer."""
        where = self.where(number)
        if self.output_column in row:
            raise DataError(f'{where} has a field "{self.output_column}" already; name another with --output-column.')
        if row.get(self.source_column, "") is None:  # as empty as an empty text
            return self.checked(Item(number, None, row))
        source = text_field(row, self.source_column, where, "--source-column")
        return self.checked(Item(number, source if source.strip() else None, row))

    def checked(self, item: Item) -> Item:
        """The item itself. Raises DataError for an empty one, unless those are skipped."""
        if item.source is None and not self.skip_empty:
            raise DataError(
                f"{self.where(item.number)} is empty; a text was expected. --skip-empty answers it with an empty one."
            )
        return item


class Reading:
    """Goes through a source, item by item: `at` says how far it is of `size`, which is None where nobody knows.

    Raises DataError, naming the line, for what cannot be a source.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.at = 0
        self.size = size_of(source)

    def __iter__(self) -> Iterator[Item]:
        return self.rows() if self.source.shape == "parquet" else self.lines()

    def lines(self) -> Iterator[Item]:
        """The lines that begin in the part."""
        source, number = self.source, 0
        as_json = source.shape == "jsonl"
        with opened_input(source.file) as (lines, plain):
            if source.start:  # to the first line that begins in the part
                lines.seek(source.start - 1)
                read_line(lines, source.where(0))
            while source.end is None or lines.tell() < source.end:
                number += 1
                where = source.where(number)
                raw = read_line(lines, where)
                if not raw:
                    return
                if self.size is not None:
                    self.at = plain.tell() - source.start
                line = decoded(raw, where)
                if number == 1 and not source.start:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                    as_json = as_json or (source.file == STANDARD and source.form == "auto" and line.startswith("{"))
                if as_json and line.strip():
                    yield source.row(number, json_object(line, where))
                else:
                    yield source.checked(Item(number, line if line.strip() else None))

    def rows(self) -> Iterator[Item]:
        """The rows of the part."""
        for number, row in rows_between(self.source):
            self.at += 1
            yield self.source.row(number, row)


def size_of(source: Source) -> int | None:
    """How much there is to read of a source: bytes as they lie on the disk, or rows."""
    if source.file == STANDARD or not Path(source.file).is_file():
        return None
    if source.end is None and source.shape == "parquet":
        with parquet_file(source.file) as file:
            return int(file.metadata.num_rows)
    return (Path(source.file).stat().st_size if source.end is None else source.end) - source.start


@contextmanager
def parquet_file(file: str) -> Iterator[Any]:
    """An open Parquet file of pyarrow's. Raises DataError where it is none, or pyarrow is missing."""
    arrow = parquet()
    try:
        # Without what is read ahead, so that memory does not grow with a row group.
        with arrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
            refuse_twins(file, opened.schema_arrow.names)
            yield opened
    except FileNotFoundError:
        raise DataError(f'there is no file "{file}".') from None
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f'"{file}" cannot be read as Parquet: {error}.') from None


def refuse_twins(file: str, names: Sequence[str]) -> None:
    """Raises DataError for two columns of one name, of which a row could hold only one."""
    if twin := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise DataError(f'"{file}" has two columns "{twin}"; give each a name of its own.')


def parquet() -> Any:
    """pyarrow with its Parquet. Raises DataError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise DataError('Parquet files need pyarrow; run: pip install "conjoin[parquet]".') from None
    return pyarrow


def rows_between(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a part of a Parquet file, numbered from the beginning of the file."""
    with parquet_file(source.file) as file:
        end = int(file.metadata.num_rows) if source.end is None else source.end
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        groups = [i for i, at in enumerate(starts) if at < end and at + sizes[i] > source.start]
        at = starts[groups[0]] if groups else end
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups):
            first, last = max(source.start - at, 0), min(end - at, batch.num_rows)
            if last > first:
                yield from enumerate(listed(batch.slice(first, last - first), source.file), at + first + 1)
            at += batch.num_rows


def listed(batch: Any, file: str) -> list[dict[str, Any]]:
    """The rows of a batch of pyarrow's. Raises DataError for values that only pandas can hold, where it is missing."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except ValueError as error:
        raise DataError(f'"{file}": {error}') from None
    return rows
