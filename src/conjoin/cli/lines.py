"""Lines in and lines out for commands: files, gzip, standard input and output; a file appears whole or not at all."""

import contextlib
import gzip
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from conjoin.errors import DataError, nearest

__all__ = ["count_lines", "expect_folder", "json_object", "named", "numbered_lines", "opened_output", "text_field"]

STANDARD = "-"
BYTE_ORDER_MARK = "\ufeff"


def named(file: str) -> str:
    """What to call a file in a message."""
    return "standard input" if file == STANDARD else f'"{file}"'


@contextlib.contextmanager
def opened_input(file: str) -> Iterator[BinaryIO]:
    """A file to read bytes from, unpacked where it ends in .gz. Raises DataError where it cannot be read."""
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as plain:
            if file.endswith(".gz"):
                with gzip.GzipFile(fileobj=plain) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield plain
    except FileNotFoundError:
        raise DataError(f'there is no file "{file}".') from None
    except IsADirectoryError:
        raise DataError(f'"{file}" is a folder; a file was expected.') from None
    except (PermissionError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f'"{file}" cannot be read: {error}.') from None


def numbered_lines(file: str) -> Iterator[tuple[int, str]]:
    """The lines of a file, or of standard input for "-", numbered from 1, without their ends.

    Raises DataError where the file cannot be read or a line is not UTF-8.
    """
    with opened_input(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"line {number} of {named(file)} is not UTF-8 ({error.reason}); save it as UTF-8."
                ) from None
            yield number, text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text


def count_lines(file: str) -> int:
    """How many lines a file has, read once through."""
    with opened_input(file) as lines:
        return sum(1 for _ in lines)


def json_object(line: str, where: str) -> dict[str, Any]:
    """The object of a JSON line. Raises DataError, naming `where`, for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is a JSON {type(row).__name__}; an object with fields was expected.")
    return row


def text_field(row: dict[str, Any], name: str, where: str, option: str | None = None) -> str:
    """A text of an object. Raises DataError, naming `where`, the nearest field and the option that chooses one."""
    if name not in row:
        have = ", ".join(f'"{key}"' for key in row) or "none"
        remedy = "" if option is None else f" Choose one with {option}."
        raise DataError(f'{where} has no field "{name}"; it has {have}{nearest(name, row)}.{remedy}')
    value = row[name]
    if not isinstance(value, str):
        raise DataError(f'{where}: the field "{name}" is a {type(value).__name__}; a text was expected.')
    return value


def expect_folder(file: str | None) -> None:
    """Raises DataError where a file that is to be written later has no folder to be in."""
    if file not in (None, STANDARD) and not Path(str(file)).resolve().parent.is_dir():
        raise DataError(f'"{file}" cannot be written: there is no folder "{Path(str(file)).parent}".')


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
    with whole_file(target, handle, Path(name)) as made:
        yield made


@contextlib.contextmanager
def whole_file(target: Path, handle: int, name: Path) -> Iterator[BinaryIO]:
    """The open file `name`, which takes the place of `target` when the block ends, and is gone when it raises."""
    try:
        with os.fdopen(handle, "wb") as plain:
            if target.suffix == ".gz":
                with gzip.GzipFile(fileobj=plain, mode="wb") as packed:
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
