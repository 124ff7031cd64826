"""What is written: a line of text or of JSON for each item, or a row of Parquet."""

import datetime
import decimal
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

from conjoin.bulk.lines import json_line
from conjoin.bulk.sources import Form, Item, Source, form_of, parquet, parquet_file, refuse_table
from conjoin.errors import DataError

__all__ = ["LINE_BREAKS", "Nowhere", "Sink", "opened_sink", "sink_form"]

LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")
ROWS_IN_A_GROUP = 1024  # of Parquet


class Sink(Protocol):
    """Takes the answers."""

    def write(self, items: Sequence[Item], texts: Sequence[str]) -> None:
        """Writes the texts that answer some items."""


def sink_form(output: str, source: Source) -> Form:
    """How answers are written: as the output's name says, or else as they were read; rows of a table as JSON lines.

    Raises DataError for a name that promises what is not written.
    """
    refuse_table(output, "name an --output that ends in .txt, .jsonl or .parquet")
    if output.lower().endswith(".parquet.gz"):
        raise DataError(f'"{output}" would be packed twice; name an --output that ends in .parquet.')
    asked = form_of(output)
    if asked == "auto":
        return "jsonl" if source.shape == "parquet" else source.shape
    return asked


@contextmanager
def opened_sink(out: BinaryIO, form: Form, source: Source) -> Iterator[Sink]:
    """A sink that writes into an open file. Raises DataError for a value that the form cannot hold."""
    if form != "parquet":
        yield Lines(out, form, source)
        return
    rows = Rows(out, source)
    yield rows
    rows.close()


class Nowhere(io.RawIOBase):
    """A file that forgets: what is written into it is tried, and no more."""

    def __init__(self) -> None:
        self.size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """How much was written."""
        return self.size

    def write(self, data: Any) -> int:
        """Counts bytes."""
        self.size += len(data)
        return len(data)


class Lines:
    """Lines of text, or of JSON: of "auto", what the item itself was."""

    def __init__(self, out: BinaryIO, form: Form, source: Source) -> None:
        self.out, self.form, self.source = out, form, source

    def write(self, items: Sequence[Item], texts: Sequence[str]) -> None:
        """Writes a line for each item."""
        for item, text in zip(items, texts, strict=True):
            self.out.write((self.line(item, text) + "\n").encode())
        self.out.flush()

    def line(self, item: Item, text: str) -> str:
        """The line that answers an item: an empty one's is empty."""
        if self.form == "text" or (self.form != "jsonl" and item.fields is None):
            return LINE_BREAKS.sub(" ", text)
        if item.fields is None and item.source is None:
            return ""
        return json_line(fields_of(item, text, self.source), written_out)


def fields_of(item: Item, text: str, source: Source) -> dict[str, Any]:
    """An item's fields and the answer; of a line of text, which has none, itself and the answer."""
    own = {source.source_column: item.source or ""} if item.fields is None else item.fields
    return {**own, source.output_column: text}


def written_out(value: object) -> str:
    """What a Parquet file can hold and JSON cannot, as a text. Raises DataError where that is not usual."""
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise DataError(f"a {type(value).__name__} cannot be written as JSON; name an --output that ends in .parquet.")


class Rows:
    """Rows of Parquet, with the columns of the file that was read, or those of the first rows."""

    def __init__(self, out: BinaryIO, source: Source) -> None:
        self.out, self.source = out, source
        self.arrow = parquet()
        self.schema: Any = None
        self.writer: Any = None
        self.waiting: list[dict[str, Any]] = []
        if source.shape == "parquet":
            with parquet_file(source.file) as file:
                self.schema = file.schema_arrow.append(self.arrow.field(source.output_column, self.arrow.string()))

    def write(self, items: Sequence[Item], texts: Sequence[str]) -> None:
        """Takes a row for each item, and writes those that make a group."""
        self.waiting += [fields_of(item, text, self.source) for item, text in zip(items, texts, strict=True)]
        while len(self.waiting) >= ROWS_IN_A_GROUP:
            self.write_group(self.waiting[:ROWS_IN_A_GROUP])
            del self.waiting[:ROWS_IN_A_GROUP]

    def write_group(self, rows: list[dict[str, Any]]) -> None:
        """Writes some rows. Raises DataError for one that does not fit the columns."""
        table = self.table(rows)
        try:
            if self.writer is None:
                self.schema = table.schema
                self.writer = self.arrow.parquet.ParquetWriter(self.out, self.schema)
            self.writer.write_table(table)
        except self.arrow.ArrowException as error:
            raise DataError(f"the rows do not make a Parquet file ({error}); write JSON lines instead.") from None

    def table(self, rows: list[dict[str, Any]]) -> Any:
        """Rows as pyarrow has them."""
        names = set(rows[0] if self.schema is None and rows else self.schema.names)
        for row in rows:
            if not row.keys() <= names:
                more = ", ".join(f'"{name}"' for name in row if name not in names)
                raise DataError(f"the first row has no field {more}, and a later one has; write JSON lines instead.")
        try:
            return self.arrow.Table.from_pylist(rows, schema=self.schema)
        except (self.arrow.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise DataError(f"the rows do not make a table ({error}); write JSON lines instead.") from None

    def close(self) -> None:
        """Writes what waits, and the end of the file."""
        if self.schema is None and not self.waiting:
            columns = (self.source.source_column, self.source.output_column)
            self.schema = self.arrow.schema([(name, self.arrow.string()) for name in columns])
        if self.waiting or self.writer is None:
            self.write_group(self.waiting)
        self.writer.close()
