"""Ids, labels and the loss in TensorFlow."""

from typing import Any

import keras
import numpy as np

import tensorflow as tf
from conjoin.errors import InputError
from conjoin.inputs import TOKENS, check_between, foreign

__all__ = [
    "as_array",
    "check_range",
    "cross_entropy",
    "first_seen",
    "given",
    "is_traced",
    "selected",
    "shift_right",
    "size",
]

TENSORS = (tf.Tensor, tf.Variable, keras.Variable)


def is_traced(x: Any) -> bool:
    """Whether an array has no values yet, being traced by tf.function."""
    return bool(tf.is_symbolic_tensor(x))


def size(x: tf.Tensor, axis: int) -> Any:
    """The length of an axis: a number, or a tensor where it is not known yet."""
    known = x.shape[axis]
    return tf.shape(x)[axis] if known is None else known


def given(**arrays: Any) -> list[tf.Tensor | None]:
    """What a call was given, as tensors; whole numbers and masks as int32. Raises InputError for another framework's tensors."""
    return [None if x is None else as_array(name, x) for name, x in arrays.items()]


def as_array(name: str, x: Any) -> tf.Tensor:
    """One array."""
    if isinstance(x, tf.RaggedTensor | tf.SparseTensor):
        kind = type(x).__name__
        raise InputError(f"{name} is a tf.{kind}; a dense tensor was expected: call its to_tensor() and give a mask.")
    if not isinstance(x, (*TENSORS, np.ndarray, list, tuple, np.generic)):
        raise InputError(foreign(name, x, "a TensorFlow tensor or a NumPy array"))
    if isinstance(x, TENSORS):
        found = tf.convert_to_tensor(x)
    else:
        values = np.asarray(x)
        found = tf.constant(values, tf.float32 if values.dtype == np.float64 else None)
    return found if found.dtype.is_floating else tf.cast(found, tf.int32)


def check_range(ids: tf.Tensor, count: int, what: str, sentence: str = TOKENS) -> None:
    """Raises InputError for an id that is not one of 0 to count - 1; not checked where the values are not known yet."""
    if is_traced(ids) or 0 in ids.shape:
        return
    check_between(int(tf.reduce_min(ids)), int(tf.reduce_max(ids)), count, what, sentence)


def shift_right(labels: tf.Tensor, start: int, pad: int, ignored: int) -> tf.Tensor:
    """(B, T) -> the start token, then the labels but for the last; `pad` for `ignored`."""
    shifted = tf.pad(labels[:, :-1], [[0, 0], [1, 0]], constant_values=start)
    return tf.where(shifted == ignored, pad, shifted)


def first_seen(mask: tf.Tensor) -> tf.Tensor:
    """The mask, with the first column True."""
    return tf.concat([tf.ones_like(mask[:, :1]), mask[:, 1:]], 1)


def selected(x: tf.Tensor, labels: tf.Tensor, keep: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """All rows: shapes are fixed, and labels that count for nothing are left out of the loss."""
    return x, labels


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, ignored: int, count: Any, smoothing: float = 0.0) -> tf.Tensor:
    """Mean over the labels that are not ignored, or their sum over `count`. In float32 or wider.

    With `smoothing`, so much of each label is spread evenly over the vocabulary (https://arxiv.org/abs/1512.00567).
    """
    wide = logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
    counts = labels != ignored
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.where(counts, labels, 0), logits=wide)
    if smoothing:
        each = (1 - smoothing) * each + smoothing * (tf.reduce_logsumexp(wide, -1) - tf.reduce_mean(wide, -1))
    total = tf.reduce_sum(tf.where(counts, each, 0.0))
    number = tf.maximum(tf.reduce_sum(tf.cast(counts, wide.dtype)), 1.0) if count is None else count
    return total / tf.cast(number, wide.dtype)
