"""The tensors of a GGUF file under transformers' names and in transformers' layout, unpacked one at a time."""

from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from conjoin.checkpoint import Framework
from conjoin.errors import CheckpointError
from conjoin.gguf.architectures import Change, architecture_of, renamed
from conjoin.gguf.config import config_of
from conjoin.gguf.header import Header, Stored, read_header
from conjoin.gguf.rope import FREQUENCIES

__all__ = ["GGUFTensors"]

Array = Any


class GGUFTensors:
    """What TensorFolder is for a folder. Tensors are unpacked to float32 when they are read, so that memory stays near
    one copy of the weights.

    Raises CheckpointError where the package `gguf` is missing, the file is cut off, or has a tensor that is not known.
    """

    def __init__(self, path: Path, framework: Framework = "pt") -> None:
        self.gguf = gguf_package(path)
        self.folder, self.framework = path, framework
        self.header = read_header(path)
        self.config = config_of(self.header)
        self.source, self.changes = sources(self.header, self.config)
        self.file_of = dict.fromkeys(self.source, path.name)
        self.shapes = {name: self._shape(name) for name in self.source}
        self.bytes = self.header.size
        for name, source in self.source.items():
            self._check(source)
            if self.changes[name] == "rotary" and self.header.tensors[source].shape[0] % self.config["head_dim"]:
                raise CheckpointError(
                    f'"{path}" is broken: "{source}" has {self.header.tensors[source].shape[0]} rows, in heads of '
                    f"{self.config['head_dim']}."
                )

    def __enter__(self) -> "GGUFTensors":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def kind(self, name: str) -> str:
        """How a tensor is stored, by ggml's name: "F32", "Q4_1"."""
        return str(self._type(self.source[name]).name)

    def read(self, name: str) -> Array:
        """One tensor, in float32 and memory of its own."""
        values = undone(self.changes[name], self._unpacked(self.source[name]), self.config)
        if self.framework == "np":
            return values
        import torch

        return torch.from_numpy(values)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = self.header.tensors[self.source[name]].shape
        return shape[::-1] if self.changes[name] == "transposed" else shape

    def _type(self, source: str) -> Any:
        """A tensor's type as the package `gguf` has it."""
        number = self.header.tensors[source].kind
        try:
            return self.gguf.GGMLQuantizationType(number)
        except ValueError:
            raise CheckpointError(
                f'"{self.folder}": its tensor "{source}" is of ggml\'s type {number}, which this version of the package '
                f"gguf does not know; install a newer one."
            ) from None

    def _row_bytes(self, source: str) -> int:
        """How many bytes a row of a tensor takes. Raises CheckpointError where its blocks do not fill rows."""
        block, size = self.gguf.GGML_QUANT_SIZES[self._type(source)]
        width = self.header.tensors[source].shape[-1]
        if width % block:
            raise CheckpointError(
                f'"{self.folder}" is broken: rows of "{source}" have {width} numbers, in blocks of {block}.'
            )
        return int(width // block * size)

    def _check(self, source: str) -> None:
        """Raises CheckpointError where a tensor is not wholly in the file."""
        stored = self.header.tensors[source]
        end = stored.offset + rows(stored) * self._row_bytes(source)
        if end > self.header.size:
            raise CheckpointError(
                f'"{self.folder}" is cut off: "{source}" ends at byte {end}, and the file has {self.header.size}; fetch it again.'
            )

    def _unpacked(self, source: str) -> np.ndarray:
        """A tensor in float32, in the file's layout."""
        stored, width = self.header.tensors[source], self._row_bytes(source)
        packed = np.memmap(self.folder, np.uint8, "r", stored.offset, (rows(stored), width))
        try:
            values = self.gguf.dequantize(packed, self._type(source))
        except NotImplementedError:
            raise CheckpointError(
                f'"{self.folder}": its tensor "{source}" is stored as {self._type(source).name}, which the package gguf cannot '
                f"unpack; take a file of another type, such as Q8_0."
            ) from None
        values = values.astype(np.float32, copy=not values.flags.writeable)
        return np.asarray(values.reshape(stored.shape))


def gguf_package(path: Path) -> ModuleType:
    """The package `gguf`. Raises CheckpointError where it is not installed."""
    try:
        import gguf
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise
        raise CheckpointError(
            f'"{path}" is a GGUF file, and reading its weights needs the package gguf: pip install "conjoin[gguf]".'
        ) from None
    package: ModuleType = gguf
    return package


def sources(header: Header, config: dict[str, Any]) -> tuple[dict[str, str], dict[str, Change]]:
    """By transformers' name of each tensor: GGUF's, and what was done to it. Raises CheckpointError for an unknown one."""
    architecture = architecture_of(header)
    layers = header.get(f"{header.architecture}.block_count", int)
    names: dict[str, str] = {}
    changes: dict[str, Change] = {}
    for name in header.tensors:
        if name == FREQUENCIES and architecture.rotary:  # which is in the config
            continue
        found = renamed(architecture, name, layers)
        if found is None:
            raise CheckpointError(
                f'"{header.path}" has a tensor "{name}", which no "{header.architecture}" of {layers} layers is known to have.'
            )
        names[found[0]], changes[found[0]] = name, found[1]
    return names, changes


def rows(stored: Stored) -> int:
    """How many rows a tensor has."""
    return prod(stored.shape[:-1])


def undone(change: Change, values: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """A tensor as it was before llama.cpp changed it."""
    if change == "plus_one":
        return values - 1
    if change == "transposed":
        return values.T
    if change == "rotary":
        # A head's rows were interleaved: first of the one half, first of the other, second of the one...
        size: int = config["head_dim"]
        pairs = values.reshape(-1, size // 2, 2, *values.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)
    return values
