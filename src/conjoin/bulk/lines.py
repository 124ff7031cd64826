"""Lines in and lines out: files, gzip, standard input and output; a file appears whole or not at all."""

import contextlib
import gzip
import json
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from conjoin.errors import DataError, json_kind, nearest

__all__ = [
    "BYTE_ORDER_MARK",
    "STANDARD",
    "chunks",
    "count_lines",
    "decoded",
    "expect_folder",
    "is_ordinary",
    "json_line",
    "json_object",
    "named",
    "numbered_lines",
    "opened_input",
    "opened_output",
    "read_line",
    "refuse_same",
    "replacing",
    "text_field",
]

T = TypeVar("T")
STANDARD = "-"
BYTE_ORDER_MARK = "\ufeff"
SURROGATE = re.compile("[\ud800-\udfff]")  # which JSON can escape, and UTF-8 cannot hold
LONGEST = 1 << 26  # bytes of a line: one without an end would fill the memory, as would a small .gz of one


def named(file: str) -> str:
    """What to call a file in a message."""
    return "standard input" if file == STANDARD else f'"{file}"'


@contextlib.contextmanager
def opened_input(file: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A file to read bytes from, unpacked where it ends in .gz; and as it lies on the disk, which tells how far one is.

    Raises DataError where it cannot be read.
    """
    if file == STANDARD:
        yield sys.stdin.buffer, sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as plain:
            if file.endswith(".gz"):
                with gzip.GzipFile(fileobj=plain) as unpacked:
                    yield cast(BinaryIO, unpacked), plain
            else:
                yield plain, plain
    except FileNotFoundError:
        raise DataError(f'there is no file "{file}".') from None
    except IsADirectoryError:
        raise DataError(f'"{file}" is a folder; a file was expected.') from None
    except (PermissionError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f'"{file}" cannot be read: {error}.') from None


def refuse_same(source: str, output: str) -> None:
    """Raises DataError where the output would take the place of the source."""
    if Path(source).is_file() and Path(output).is_file() and Path(source).samefile(output):
        raise DataError(f'--output is "{output}", the source itself; name another file.')


def read_line(lines: BinaryIO, where: str) -> bytes:
    """The next line with its end, or nothing at the end of a file. Raises DataError for one that is longer than any text."""
    line = lines.readline(LONGEST + 1)
    if len(line) > LONGEST:
        raise DataError(f"{where} is longer than {LONGEST >> 20} MiB; a text a line was expected.")
    return line


def decoded(line: bytes, where: str) -> str:
    """A line without its end. Raises DataError where it is not UTF-8."""
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 ({error.reason}); save it as UTF-8.") from None


def numbered_lines(file: str) -> Iterator[tuple[int, str]]:
    """The lines of a file, or of standard input for "-", numbered from 1, without their ends.

    Raises DataError where the file cannot be read, or a line is not UTF-8.
    """
    number = 1
    with opened_input(file) as (lines, _):
        while raw := read_line(lines, where := f"line {number} of {named(file)}"):
            line = decoded(raw, where)
            yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            number += 1


def count_lines(file: str) -> int:
    """How many lines a file has, read once through."""
    with opened_input(file) as (lines, _):
        return sum(1 for _ in lines)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, `size` at a time."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


def json_object(line: str, where: str) -> dict[str, Any]:
    """The object of a JSON line. Raises DataError, naming `where`, for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is {json_kind(row)}; an object with fields was expected.")
    return row


def json_line(fields: Mapping[str, Any], default: Callable[[object], Any] | None = None) -> str:
    """An object as a line, in UTF-8 where that can hold it; `default` is what to write of what JSON does not know."""
    line = json.dumps(fields, ensure_ascii=False, default=default)
    return json.dumps(fields, default=default) if SURROGATE.search(line) else line


def text_field(row: dict[str, Any], name: str, where: str, option: str | None = None) -> str:
    """A text of an object. Raises DataError, naming `where`, the nearest field and the option that chooses one."""
    if name not in row:
        have = ", ".join(f'"{key}"' for key in row) or "none"
        remedy = "" if option is None else f" Choose one with {option}."
        raise DataError(f'{where} has no field "{name}"; it has {have}{nearest(name, row)}.{remedy}')
    value = row[name]
    if not isinstance(value, str):
        raise DataError(f'{where}: the field "{name}" is {json_kind(value)}; a text was expected.')
    if SURROGATE.search(value):
        raise DataError(f'{where}: the field "{name}" holds half of a surrogate pair, which is no character.')
    return value


def expect_folder(file: str | None) -> None:
    """Raises DataError where a file that is to be written later has no folder to be in."""
    if file not in (None, STANDARD) and not Path(str(file)).resolve().parent.is_dir():
        raise DataError(f'"{file}" cannot be written: there is no folder "{Path(str(file)).parent}".')


def is_ordinary(file: str) -> bool:
    """Whether this is a file that can be written anew, or read again: neither standard input or output, nor a device."""
    return file != STANDARD and (Path(file).is_file() or not Path(file).exists())


@contextlib.contextmanager
def opened_output(file: str) -> Iterator[BinaryIO]:
    """Where to write bytes: standard output for "-", or a file that appears whole when the block ends, or not at all.

    A name that ends in .gz is packed. What is there already and is no ordinary file (a device, a pipe) is written to
    as it stands. Raises DataError where it cannot be written.
    """
    if file == STANDARD:
        sys.stdout.flush()
        yield sys.stdout.buffer
        return
    target = Path(file).resolve()
    if target.is_dir():
        raise DataError(f'"{file}" is a folder; the name of a file was expected.')
    if target.exists() and not target.is_file():
        with target.open("wb") as special:
            yield special
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise DataError(f'"{file}" cannot be written: {error.strerror}.') from None
    os.close(handle)
    with replacing(target, Path(name)) as made:
        yield made


@contextlib.contextmanager
def replacing(target: Path, name: Path) -> Iterator[BinaryIO]:
    """The open file `name`, which takes the place of `target` when the block ends, and is gone when it raises."""
    try:
        with name.open("wb") as plain:
            if target.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=plain, mtime=0) as packed:  # the same bytes each time
                    yield cast(BinaryIO, packed)
            else:
                yield plain
            plain.flush()
            os.fsync(plain.fileno())
        mask = os.umask(0)
        os.umask(mask)
        name.chmod(0o666 & ~mask)
        os.replace(name, target)
    finally:
        name.unlink(missing_ok=True)
