"""What the stores of JAX and TensorFlow have in common: values that are read and written as NumPy's; no whole numbers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

__all__ = [
    "FILES",
    "NARROW_TYPES",
    "calibrate",
    "constant",
    "copied",
    "detached",
    "id_lists",
    "joined_rows",
    "narrow_tensors",
    "on_device",
    "save_file",
    "without_storage",
    "zero_rows",
]

NpArray = np.ndarray[Any, Any]
FILES = "np"  # safetensors' name
NARROW_TYPES: tuple[str, ...] = ()  # weights in whole numbers run in PyTorch alone


def narrow_tensors(model: Any, gone: Iterable[str]) -> None:
    """No model is in whole numbers here."""
    return


def calibrate(model: Any, folder: Any, exact: Any) -> None:
    """No model is in whole numbers here."""
    return


def constant(like: NpArray, value: float) -> NpArray:
    """One value everywhere, in like's shape and type."""
    return np.full_like(like, value)


def zero_rows(like: NpArray, count: int) -> NpArray:
    """So many rows of zeros, as like's."""
    return np.zeros((count, *like.shape[1:]), like.dtype)


def joined_rows(parts: list[NpArray]) -> NpArray:
    """Arrays one after another."""
    return np.concatenate(parts, 0)


def detached(x: NpArray) -> NpArray:
    """Values alone."""
    return x


def copied(x: NpArray) -> NpArray:
    """A copy of its own."""
    return x.copy()


def on_device(array: NpArray, model: Any) -> NpArray:
    """An array as it is: the framework takes it where the parameters are."""
    return array


def id_lists(ids: Any) -> list[list[int]]:
    """Ids as lists, from whichever device."""
    found: list[list[int]] = np.asarray(ids).tolist()
    return found


def without_storage() -> bool:
    """Whether models are built without storage by the user's wish: no such wish can be told here."""
    return False


def save_file(tensors: dict[str, NpArray], path: str | Path, metadata: dict[str, str]) -> None:
    """Writes a safetensors file."""
    from safetensors.numpy import save_file as save

    assert ml_dtypes  # which teaches NumPy bfloat16
    save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path, metadata=metadata)
