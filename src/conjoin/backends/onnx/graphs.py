"""A graph that ONNX Runtime runs, and what it leaves there: arrays that need not be copied to be read again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from conjoin.errors import CheckpointError

__all__ = ["Graph", "Held"]

Array = np.ndarray[Any, Any]
ERRORS = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile)


class Held:
    """An array in the runtime's memory."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.shape: tuple[int, ...] = tuple(value.shape())

    @classmethod
    def of(cls, array: Array) -> Self:
        """An array, taken in."""
        return cls(onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))

    def __getitem__(self, index: Any) -> Array:
        """A part of it, as an array."""
        found: Array = self.numpy()[index]
        return found

    @property
    def dtype(self) -> Any:
        """The type of its numbers."""
        return self[:0].dtype

    def numpy(self) -> Array:
        """The array itself."""
        found: Array = self.value.numpy()
        return found


class Graph:
    """One file: named arrays in, arrays out, in the order of the file's outputs.

    Raises CheckpointError where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors, which come as exceptions too
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except ERRORS as error:
            raise CheckpointError(f'"{path}" cannot be read: {str(error).splitlines()[0]}') from None
        self.inputs = frozenset(one.name for one in self.session.get_inputs())
        self.outputs = [one.name for one in self.session.get_outputs()]

    def __call__(self, feeds: Mapping[str, Array | Held]) -> list[Held]:
        """The outputs, of inputs of which those that the graph does not read are left out."""
        held = {name: x if isinstance(x, Held) else Held.of(x) for name, x in feeds.items() if name in self.inputs}
        values = self.session.run_with_ort_values(self.outputs, {name: one.value for name, one in held.items()})
        return [Held(value) for value in values]
