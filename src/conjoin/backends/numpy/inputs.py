"""Ids, labels and the loss in NumPy."""

from typing import Any

import numpy as np
from conjoin.errors import InputError
from conjoin.inputs import TOKENS, check_between, foreign

__all__ = [
    "check_range",
    "cross_entropy",
    "dtype_name",
    "first_seen",
    "free_memory",
    "given",
    "id_lists",
    "is_traced",
    "on_cpu",
    "on_device",
    "selected",
    "shift_right",
    "size",
]

Array = np.ndarray[Any, Any]


def given(**arrays: Any) -> list[Any]:
    """What a call was given, whole numbers as int64. Raises InputError for a framework's tensors."""
    return [None if x is None else as_array(name, x) for name, x in arrays.items()]


def as_array(name: str, x: Any) -> Array:
    """One array."""
    if not isinstance(x, np.ndarray):
        raise InputError(foreign(name, x, "a NumPy array"))
    return x.astype(np.int64) if np.issubdtype(x.dtype, np.integer) else x


def is_traced(x: Any) -> bool:
    """Whether an array has no values yet: never here."""
    return False


def size(x: Any, axis: int) -> int:
    """The length of an axis."""
    return int(x.shape[axis])


def check_range(ids: Array, count: int, what: str, sentence: str = TOKENS) -> None:
    """Raises InputError for an id that is not one of 0 to count - 1."""
    if ids.size:
        check_between(int(ids.min()), int(ids.max()), count, what, sentence)


def shift_right(labels: Array, start: int, pad: int, ignored: int) -> Array:
    """(B, T) -> the start token, then the labels but for the last; `pad` for `ignored`."""
    shifted = np.concatenate([np.full((len(labels), 1), start, labels.dtype), labels[:, :-1]], 1)
    return np.where(shifted == ignored, pad, shifted)


def first_seen(mask: Array) -> Array:
    """The mask, with the first column True."""
    return np.concatenate([np.ones_like(mask[:, :1]), mask[:, 1:]], 1)


def selected(x: Array, labels: Array, keep: Array) -> tuple[Array, Array]:
    """The rows of x (B, T, W) and labels (B, T) to keep: (N, W) and (N,)."""
    return x[keep], labels[keep]


def cross_entropy(logits: Array, labels: Array, ignored: int, count: Any, smoothing: float = 0.0) -> Array:
    """Mean over the labels that are not ignored, or their sum over `count`, in float32: a number, and no gradient."""
    flat, aim = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    counted = aim != ignored
    flat, aim = flat[counted].astype(np.float32), aim[counted]
    highest = flat.max(-1, keepdims=True)
    own = (1 - smoothing) * np.take_along_axis(flat, aim[:, None], 1)[:, 0] + smoothing * flat.mean(-1)
    lost = np.log(np.exp(flat - highest).sum(-1)) + highest[:, 0] - own
    return np.asarray(lost.sum() / (max(counted.sum(), 1) if count is None else count), np.float32)


def id_lists(ids: Array) -> list[list[int]]:
    """Ids as lists."""
    found: list[list[int]] = ids.tolist()
    return found


def on_device(array: Array, model: Any) -> Array:
    """An array where a model is."""
    return array


def on_cpu(x: Array) -> Array:
    """A copy in the host's memory."""
    return x.copy()


def free_memory(model: Any) -> int | None:
    """Bytes that are left; None where nobody says."""
    from conjoin.decoding.budget import host_free

    return host_free()


def dtype_name(model: Any) -> str:
    """The type of keys, values and logits, whatever the weights are."""
    return "float32"
