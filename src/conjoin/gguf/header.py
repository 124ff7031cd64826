"""Reads what stands before the tensors of a GGUF file: its metadata, and each tensor's name, shape, type and place.

The file comes from anywhere, so that no count or length in it is believed before it is seen to fit into the file.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import CheckpointError

__all__ = ["Header", "Stored", "mapped", "read_header"]

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), 32
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DIMENSIONS = 4  # ggml has no more
SMALLEST_ENTRY = 13  # bytes: an empty name, a type, one byte of value
SMALLEST_TENSOR = 24  # bytes: an empty name, no dimension, a type, a place


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies. `shape` is numpy's, rows first; the file has it the other way round."""

    shape: tuple[int, ...]
    kind: int  # ggml's number for its type
    offset: int  # from the beginning of the file


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself. Numbers of the metadata are Python's, arrays lists."""

    path: Path
    size: int  # of the file, in bytes
    metadata: dict[str, Any]
    tensors: dict[str, Stored]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture. Raises CheckpointError where the file has none."""
        name: str = self.get("general.architecture", str)
        return name

    def get(self, key: str, kind: type) -> Any:
        """A value of the metadata. Raises CheckpointError where it is missing, or of another kind."""
        value = self.optional(key, kind)
        if value is None:
            raise CheckpointError(f'"{self.path}" has no "{key}" in its metadata, and needs one.')
        return value

    def optional(self, key: str, kind: type) -> Any:
        """The same, or None where it is missing."""
        value = self.metadata.get(key)
        if value is not None and type(value) is not kind:
            found = f"{value!r:.40} (a {type(value).__name__})"
            raise CheckpointError(f'"{self.path}": "{key}" is {found}; a {kind.__name__} was expected.')
        return value

    def strings(self, key: str) -> list[str]:
        """A list of strings of the metadata. Raises CheckpointError for anything else."""
        found: list[str] = self.get(key, list)
        if found and type(found[0]) is not str:
            raise CheckpointError(f'"{self.path}": "{key}" holds {type(found[0]).__name__}s; strings were expected.')
        return found

    def numbers(self, key: str, count: int) -> list[float]:
        """A list of `count` numbers of the metadata. Raises CheckpointError for anything else."""
        found: list[float] = self.get(key, list)
        if len(found) != count or (found and type(found[0]) not in (int, float)):
            raise CheckpointError(f'"{self.path}": "{key}" has {len(found)} values; {count} numbers were expected.')
        return found


def read_header(path: Path) -> Header:
    """The header of a GGUF file of version 2 or 3, little-endian. Raises CheckpointError for anything else."""
    with mapped(path) as data:
        reader = Reader(path, data)
        if data[:4] != MAGIC:
            raise CheckpointError(f'"{path}" is no GGUF file: it does not begin with "GGUF".')
        reader.at = 4
        version = reader.number("I")
        if version not in VERSIONS:
            raise CheckpointError(f'"{path}" is of GGUF version {version}; 2 or 3, little-endian, was expected.')
        tensor_count, entry_count = reader.number("Q"), reader.number("Q")
        reader.expect(entry_count * SMALLEST_ENTRY + tensor_count * SMALLEST_TENSOR)
        metadata = read_metadata(reader, entry_count)
        found = [(name_of(reader), *reader.tensor()) for _ in range(tensor_count)]
        tensors = placed(reader, found, metadata.get("general.alignment", ALIGNMENT))
        return Header(path, len(data), metadata, tensors)


def mapped(path: Path) -> mmap.mmap:
    """A file's bytes, without reading them all. Raises CheckpointError where it cannot be opened, or is empty."""
    try:
        with path.open("rb") as opened:
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f'"{path}" cannot be read: {error.strerror}.') from None
    except ValueError:  # what mmap says of a file without a byte
        raise CheckpointError(f'"{path}" is empty; fetch it again.') from None


class Reader:
    """Goes through the header, and says so where it ends too early."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def expect(self, count: int) -> None:
        """Raises CheckpointError where fewer than `count` bytes are left."""
        if count > len(self.data) - self.at:
            raise CheckpointError(
                f'"{self.path}" is cut off, or broken: at byte {self.at} it has {len(self.data) - self.at} bytes left and '
                f"says that {count} follow; fetch it again."
            )

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self.expect(count)
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, kind: str) -> Any:
        """The next number, of a type as `struct` names it."""
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def string(self) -> str:
        """The next string."""
        start = self.at
        try:
            return self.take(self.number("Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f'"{self.path}" is broken: the text at byte {start} is not UTF-8.') from None

    def value(self, kind: int) -> Any:
        """The next value of the metadata."""
        if kind == STRING:
            return self.string()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise CheckpointError(f'"{self.path}" is broken: {kind} at byte {self.at - 4} is no type of GGUF.')
        inner, count = self.number("I"), self.number("Q")
        if inner == STRING:
            self.expect(8 * count)
            return [self.string() for _ in range(count)]
        if inner not in SCALARS:
            raise CheckpointError(f'"{self.path}": arrays of GGUF type {inner} are not read; strings or numbers are.')
        kinds = np.dtype(f"<{SCALARS[inner]}")
        return np.frombuffer(self.take(count * kinds.itemsize), kinds).tolist()

    def tensor(self) -> tuple[tuple[int, ...], int, int]:
        """The shape, the type and the relative place of a tensor whose name was read."""
        count = self.number("I")
        if count > DIMENSIONS:
            raise CheckpointError(f'"{self.path}" is broken: it has a tensor of {count} dimensions, and GGUF knows 4.')
        shape = tuple(self.number("Q") for _ in range(count))
        return shape[::-1], self.number("I"), self.number("Q")


def name_of(reader: Reader) -> str:
    """The name of what comes next, which sentences can hold."""
    name = reader.string()
    if not name.isprintable():
        raise CheckpointError(f'"{reader.path}" is broken: it names something {name[:80]!r}.')
    return name


def read_metadata(reader: Reader, count: int) -> dict[str, Any]:
    """The metadata; a key that is there twice is refused."""
    found: dict[str, Any] = {}
    for _ in range(count):
        key = name_of(reader)
        if key in found:
            raise CheckpointError(f'"{reader.path}" is broken: it has "{key}" twice.')
        found[key] = reader.value(reader.number("I"))
    return found


def placed(reader: Reader, found: list[tuple[str, tuple[int, ...], int, int]], alignment: object) -> dict[str, Stored]:
    """The tensors by name, their places counted from the beginning of the file."""
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise CheckpointError(f'"{reader.path}": "general.alignment" is {alignment!r}; a power of two was expected.')
    start = -(-reader.at // alignment) * alignment
    tensors = {name: Stored(shape, kind, start + offset) for name, shape, kind, offset in found}
    if len(tensors) < len(found):
        raise CheckpointError(f'"{reader.path}" is broken: two of its tensors have one name.')
    for name, stored in tensors.items():
        # A number takes more than a bit in every type, and so this bounds what a shape can claim.
        if not stored.shape or not all(stored.shape) or prod(stored.shape) > 8 * len(reader.data):
            raise CheckpointError(
                f'"{reader.path}" is cut off, or broken: its tensor "{name}" is said to be of shape {list(stored.shape)}.'
            )
    return tensors
