"""Array operations in TensorFlow. In decoding rows are sources, the last axis is tokens or vocabulary, shapes are fixed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tensorflow as tf

__all__ = [
    "absolute",
    "all_of",
    "any_of",
    "arange",
    "argmax",
    "best_of_sums",
    "broadcast",
    "chooses",
    "clipped",
    "concat",
    "cumsum",
    "divided",
    "exp",
    "false",
    "flags",
    "flat",
    "full",
    "greatest",
    "inverse",
    "last_axis",
    "least",
    "log_softmax",
    "merged",
    "normalised",
    "number",
    "padded",
    "pick",
    "power",
    "reshaped",
    "rising",
    "softmax",
    "sort",
    "summed",
    "take_last",
    "take_rows",
    "taken",
    "top_k",
    "total",
    "true",
    "where",
    "while_loop",
    "whole",
    "wide",
    "zeros",
]


absolute, exp = tf.abs, tf.exp


def clipped(x: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Within low and high."""
    return tf.clip_by_value(x, low, high)


def where(condition: tf.Tensor, x: Any, y: Any) -> tf.Tensor:
    """x where the condition holds and y elsewhere; a number takes the type of the other."""
    kind = next((value.dtype for value in (x, y) if tf.is_tensor(value)), None)
    return tf.where(condition, tf.convert_to_tensor(x, kind), tf.convert_to_tensor(y, kind))


def arange(length: Any, like: tf.Tensor) -> tf.Tensor:
    """0, 1... length - 1."""
    return tf.range(length, dtype=tf.int32)


def concat(arrays: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """One after another along an axis."""
    return tf.concat(arrays, axis)


def zeros(shape: Sequence[Any], like: tf.Tensor, dtype: Any = None) -> tf.Tensor:
    """Zeros of like's type, or of `dtype`."""
    return tf.zeros(tuple(shape), dtype or like.dtype)


def full(shape: Sequence[Any], value: float, like: tf.Tensor) -> tf.Tensor:
    """A filled array of like's type."""
    return tf.fill(tuple(shape), tf.cast(value, like.dtype))


def padded(x: tf.Tensor, axis: int, length: Any, value: float) -> tf.Tensor:
    """x with `value` after its end along an axis, up to a length."""
    have = x.shape[axis]
    if have is None or not isinstance(length, int):
        missing = tf.maximum(length - tf.shape(x)[axis], 0)
    elif have >= length:
        return x
    else:
        missing = length - have
    ends = [[0, missing if i == axis else 0] for i in range(len(x.shape))]
    return tf.pad(x, ends, constant_values=tf.cast(value, x.dtype))


def cumsum(x: tf.Tensor) -> tf.Tensor:
    """Running sums along the last axis."""
    return tf.cumsum(tf.cast(x, tf.int32) if x.dtype.is_bool else x, -1)


def total(x: tf.Tensor) -> tf.Tensor:
    """Sums along the last axis; of booleans how many are True."""
    return tf.reduce_sum(tf.cast(x, tf.int32) if x.dtype.is_bool else x, -1)


def normalised(x: tf.Tensor) -> tf.Tensor:
    """Vectors along the last axis, of length one."""
    return x / tf.norm(x, axis=-1, keepdims=True)


def log_softmax(x: tf.Tensor) -> tf.Tensor:
    """In float32, along the last axis."""
    return tf.nn.log_softmax(tf.cast(x, tf.float32))


def broadcast(x: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """x in another shape."""
    return tf.broadcast_to(x, tuple(shape))


def wide(x: tf.Tensor) -> tf.Tensor:
    """In float32."""
    return tf.cast(x, tf.float32)


def softmax(x: tf.Tensor) -> tf.Tensor:
    """Along the last axis."""
    return tf.nn.softmax(x)


def argmax(x: tf.Tensor) -> tf.Tensor:
    """Where the largest of the last axis stands, the first of equals; two plain passes are faster than tf.argmax."""
    length = x.shape[-1]
    best = tf.reduce_max(x, -1, keepdims=True)
    return tf.reduce_min(tf.where(x == best, tf.range(length), length - 1), -1)


def top_k(x: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k largest of the last axis, best first, and where they stand; of equals the first."""
    values, at = tf.math.top_k(x, k)
    return values, at


def best_of_sums(scores: tf.Tensor, sums: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    return top_k(flat(scores + sums[..., None]), k)


def chooses(logits: tf.Tensor, k: int) -> bool:
    """Whether the best of logits are found without writing log-probabilities down: not here."""
    return False


def sort(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The last axis in rising order, and where each value of it stands in that order."""
    order = tf.argsort(x, -1, stable=True)
    return take_last(x, order), tf.argsort(order, -1, stable=True)


def rising(x: tf.Tensor) -> tf.Tensor:
    """Where the values of the last axis stand, in rising order."""
    return tf.argsort(x, -1, stable=True)


def summed(x: tf.Tensor) -> tf.Tensor:
    """(..., N) -> (..., 1)."""
    return tf.reduce_sum(x, -1, keepdims=True)


def whole(x: tf.Tensor) -> tf.Tensor:
    """As whole numbers."""
    return tf.cast(x, tf.int32)


def taken(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """x (N,) at indices of any shape."""
    return tf.gather(x, index)


def take_last(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """x at index along the last axis."""
    return tf.gather(x, index, axis=-1, batch_dims=len(x.shape) - 1)


def flat(x: tf.Tensor) -> tf.Tensor:
    """(B, K, V) -> (B, K * V)."""
    return tf.reshape(x, (x.shape[0], -1))


def merged(x: tf.Tensor) -> tf.Tensor:
    """(B, R, ...) -> (B * R, ...)."""
    return tf.reshape(x, (-1, *x.shape[2:]))


def reshaped(x: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """x in another shape, of which one axis may be -1."""
    return tf.reshape(x, tuple(shape))


def pick(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return tf.gather(x, index, axis=1, batch_dims=1)


def take_rows(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Some rows."""
    return tf.gather(x, index)


def inverse(order: tf.Tensor) -> tf.Tensor:
    """The permutation that undoes another."""
    return tf.math.invert_permutation(order)


def divided(x: tf.Tensor, by: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Quotient and remainder."""
    return x // by, x % by


def power(base: Any, exponent: float, most: int) -> tf.Tensor:
    """A whole number from 0 to `most` to a power, in float32 as rounded from double."""
    table = np.maximum(np.arange(most + 1, dtype=np.float64), 1.0 if exponent < 0 else 0.0) ** exponent
    return tf.gather(tf.constant(table.astype(np.float32)), base)


def number(x: tf.Tensor) -> tf.Tensor:
    """0.0 and 1.0 for False and True."""
    return tf.cast(x, tf.float32)


def least(x: tf.Tensor) -> tf.Tensor:
    """(B, K) -> (B, 1)."""
    return tf.reduce_min(x, 1, keepdims=True)


def greatest(x: tf.Tensor) -> tf.Tensor:
    """The largest of all."""
    return tf.reduce_max(x)


def all_of(x: tf.Tensor) -> tf.Tensor:
    """(B, K) -> (B,)."""
    return tf.reduce_all(x, 1)


def any_of(x: tf.Tensor) -> tf.Tensor:
    """(B, K) -> (B, 1)."""
    return tf.reduce_any(x, 1, keepdims=True)


def flags(x: tf.Tensor) -> tf.Tensor:
    """A mask of numbers or of booleans as booleans."""
    return tf.cast(x, tf.bool)


def false(like: tf.Tensor) -> tf.Tensor:
    """False, in like's shape."""
    return tf.zeros(like.shape, tf.bool)


def true(like: tf.Tensor) -> tf.Tensor:
    """True, broadcasting to like's shape."""
    return tf.constant(True)


def last_axis(x: tf.Tensor) -> tf.Tensor:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if len(x.shape) == 3 else x


def while_loop(more: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
    """Repeats `body` while `more` holds, as one compiled loop."""
    return tf.while_loop(more, lambda carried: [body(carried)], [state], parallel_iterations=1)[0]
