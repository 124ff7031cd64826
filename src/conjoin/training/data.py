"""Pairs of texts from a file (JSON lines, CSV, TSV, Parquet) or a data set of the hub; what is no text is refused."""

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from conjoin.errors import DataError, nearest

__all__ = ["Pairs", "read_pairs"]

KINDS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
KNOWN = f"{', '.join(KINDS)} (or .gz after it)"
ROWS_AT_ONCE = 1000  # of a Parquet file
LONGEST_CELL = 2**31 - 1  # characters; Python's csv stops at 131072 unless told
HUB_ID = re.compile(r"^[\w-][\w.-]*(/[\w-][\w.-]*)?(:[\w.-]+)?$")
TWICE = object()
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pairs:
    """Source texts and the target texts that belong to them; `name` is where they came from, for messages."""

    sources: list[str]
    targets: list[str]
    name: str = "the pairs"

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.targets):
            raise DataError(
                f"{self.name}: {len(self.sources)} sources and {len(self.targets)} targets; as many were expected."
            )
        if not self.sources:
            raise DataError(f"{self.name} has no pairs; at least one was expected.")

    def __len__(self) -> int:
        return len(self.sources)

    def first(self, count: int) -> "Pairs":
        """The first `count` pairs."""
        return self if count >= len(self) else Pairs(self.sources[:count], self.targets[:count], self.name)


def read_pairs(
    source: str | Path,
    *,
    source_column: str = "document",
    target_column: str = "summary",
    split: str = "train",
) -> Pairs:
    """Reads pairs from a file, or from a data set of the hub ("owner/name", "owner/name:configuration").

    Files are .jsonl, .ndjson, .json (lines, or one list of objects), .csv, .tsv, each of them also with .gz, and
    .parquet. `split` is of a data set; a file is read whole. Raises DataError, with the line, for a missing file or
    column, a text that is empty or no text, and a malformed line.
    """
    name, rows = located_rows(source, split)
    return gathered(rows, (source_column, target_column), name)


def located_rows(source: str | Path, split: str, *, streaming: bool = False) -> tuple[str, Iterator[tuple[str, Row]]]:
    """What to call a file or a data set in a message, and its rows, each with the words that say where it stands.

    Files are read row by row; with `streaming` a data set of the hub is too, and not fetched first.
    """
    path = Path(source)
    kind = kind_of(path)
    if kind is None:
        return f'"{source}" ({split})', hub_rows(str(source), split, streaming)
    if not path.is_file():
        raise DataError(f'"{path}" is not there; a file of pairs was expected.')
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Row]]]]
    readers = {"json": json_rows, "csv": csv_rows, "tsv": partial(csv_rows, delimiter="\t"), "parquet": parquet_rows}
    return f'"{path}"', readers[kind](path)


def kind_of(path: Path) -> str | None:
    """How a file is written, by the end of its name; None for any other name."""
    ends = [end.lower() for end in path.suffixes[-2:]]
    if ends[-1:] == [".gz"]:
        ends.pop()
    return KINDS.get(ends[-1]) if ends else None


def gathered(rows: Iterable[tuple[str, Row]], columns: tuple[str, str], name: str) -> Pairs:
    """Pairs of rows, each with the words that say where it stands."""
    texts: tuple[list[str], list[str]] = ([], [])
    for where, row in rows:
        for column, found in zip(columns, texts, strict=True):
            found.append(text_of(row, column, f"{name}, {where}"))
    if not texts[0]:
        raise DataError(f"{name} has no pairs; at least one was expected.")
    return Pairs(*texts, name)


def text_of(row: Row, column: str, where: str) -> str:
    """The text in a column of a row."""
    if column not in row:
        names = [str(name) for name in row]
        raise DataError(
            f'{where}: there is no column "{column}"{nearest(column, names)}; it has {", ".join(names) or "none"}. '
            f"Name the columns with source_column and target_column (--source-column, --target-column)."
        )
    text = row[column]
    if text is TWICE:
        raise DataError(f'{where}: there are several columns "{column}"; names of their own were expected.')
    if not isinstance(text, str):
        raise DataError(f'{where}: "{column}" is {short(text)}; a text was expected.')
    if not text.strip():
        raise DataError(f'{where}: "{column}" is empty; a text was expected.')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f'{where}: "{column}" has half a surrogate pair at {error.start}, which is no text.') from None
    return text


def short(value: object) -> str:
    """A value as an error shows it."""
    return "null" if value is None else f"a {type(value).__name__} ({value!r:.40})"


def json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The objects of a file of JSON lines, or of one JSON list; blank lines are passed over."""
    with opened(path) as file:
        head = file.read(1)
        while head.isspace():
            head = file.read(1)
        file.seek(0)
        if head == "[":
            yield from list_rows(path, file)
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"line {number}", json_object(line, f'"{path}", line {number}')


def json_object(line: str, where: str) -> Row:
    """The object of one line."""
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error}); one object a line was expected.") from None
    if not isinstance(found, dict):
        raise DataError(f"{where} holds {short(found)}; an object with the two columns was expected.")
    return found


def list_rows(path: Path, file: TextIO) -> Iterator[tuple[str, Row]]:
    """The objects of one JSON list."""
    try:
        found = json.load(file)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f'"{path}" is not JSON ({error}); a list of objects, or one object a line, was expected.'
        ) from None
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise DataError(f'"{path}", item {number} is {short(row)}; an object with the two columns was expected.')
        yield f"item {number}", row


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[str, Row]]:
    """The rows of a .csv or .tsv file, whose first line names the columns."""
    with opened(path) as file, long_cells():
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            repeated = twice(reader.fieldnames or ())
            for row in reader:
                found = whole_row(row, f'"{path}", line {reader.line_num}')
                yield f"line {reader.line_num}", {**found, **repeated}
        except csv.Error as error:
            raise DataError(f'"{path}", line {reader.reader.line_num} is malformed: {error}.') from None


def whole_row(row: dict[str | None, Any], where: str) -> Row:
    """A row that has as many cells as the file has columns."""
    if None in row or None in row.values():
        few = None in row.values()
        raise DataError(f"{where} has {'fewer' if few else 'more'} cells than the first line names columns.")
    return {str(name): value for name, value in row.items()}


def twice(names: Sequence[str]) -> dict[str, Any]:
    """What stands in place of a cell of a column whose name another has too: which of them is meant, no one can say."""
    return {name: TWICE for name, count in Counter(names).items() if count > 1}


@contextmanager
def long_cells() -> Iterator[None]:
    """Lets csv read long cells; its limit belongs to the whole process, and is put back."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """A text file, unpacked where it ends in .gz. Raises DataError where it cannot be read, or is not UTF-8."""
    try:
        raw: Any = gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115 - closed below
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f'"{path}" is not UTF-8 ({error}); save it as UTF-8.') from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f'"{path}" cannot be read: {error}.') from None


def parquet_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a Parquet file, read a batch at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number, repeated = 0, twice(file.schema_arrow.names)
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", {**row, **repeated}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f'"{path}" cannot be read as Parquet: {error}.') from None


def hub_rows(name: str, split: str, streaming: bool) -> Iterator[tuple[str, Row]]:
    """The rows of a data set that the `datasets` library finds under this name."""
    if not HUB_ID.match(name) or Path(name).is_file():
        raise DataError(
            f'"{name}" is neither a file that can be read nor the name of a data set; a file ending in {KNOWN}, or '
            f'"owner/name", was expected.'
        )
    try:
        import datasets
    except ModuleNotFoundError:
        raise DataError(f'"{name}" needs the datasets library; run: pip install "conjoin[train]".') from None
    path, _, configuration = name.partition(":")
    try:
        found = datasets.load_dataset(path, configuration or None, split=split, streaming=streaming)
        for number, row in enumerate(found, 1):
            yield f"row {number}", row
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        first = str(error).strip().split("\n")[0]
        raise DataError(f'"{name}" ({split}) could not be fetched: {first}') from None
