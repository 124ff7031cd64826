"""Array operations in JAX. In decoding rows are sources, and the last axis is tokens or vocabulary; shapes are fixed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import jax
import jax.numpy as jnp

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
    "tanh",
    "top_k",
    "total",
    "true",
    "where",
    "while_loop",
    "whole",
    "wide",
    "zeros",
]

Array = Any  # a jax.Array
CHUNK = 128  # of a long axis, of which the largest are looked for by chunks


where, tanh, absolute, exp = jnp.where, jnp.tanh, jnp.abs, jnp.exp


def clipped(x: Array, low: float, high: float) -> Array:
    """Within low and high."""
    return jnp.clip(x, low, high)


def library(x: Any) -> Any:
    """NumPy for what is prepared on the host, where each operation of JAX would be compiled; JAX for all else."""
    return np if isinstance(x, np.ndarray) else jnp


def arange(length: int, like: Array) -> Array:
    """0, 1... length - 1."""
    return library(like).arange(length, dtype=np.int32)


def concat(arrays: Sequence[Array], axis: int) -> Array:
    """One after another along an axis."""
    return library(arrays[0]).concatenate(arrays, axis)


def zeros(shape: Sequence[int], like: Array, dtype: Any = None) -> Array:
    """Zeros of like's type, or of `dtype`."""
    return library(like).zeros(tuple(shape), dtype or like.dtype)


def full(shape: Sequence[int], value: float, like: Array) -> Array:
    """A filled array of like's type."""
    return jnp.full(tuple(shape), value, like.dtype)


def padded(x: Array, axis: int, length: int, value: float) -> Array:
    """x with `value` after its end along an axis, up to a length."""
    ends = [(0, length - x.shape[i] if i == axis else 0) for i in range(x.ndim)]
    return library(x).pad(x, ends, constant_values=value) if length > x.shape[axis] else x


def cumsum(x: Array) -> Array:
    """Running sums along the last axis."""
    return jnp.cumsum(x, -1)


def total(x: Array) -> Array:
    """Sums along the last axis; of booleans how many are True."""
    return x.sum(-1)


def normalised(x: Array) -> Array:
    """Vectors along the last axis, of length one."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """In float32, along the last axis."""
    return jax.nn.log_softmax(x.astype(jnp.float32))


def broadcast(x: Array, shape: Sequence[int]) -> Array:
    """x in another shape."""
    return library(x).broadcast_to(x, tuple(shape))


def wide(x: Array) -> Array:
    """In float32."""
    return x.astype(jnp.float32)


def softmax(x: Array) -> Array:
    """Along the last axis."""
    return jax.nn.softmax(x)


def argmax(x: Array) -> Array:
    """Where the largest of the last axis stands, the first of equals; two plain passes are faster than jnp.argmax."""
    best = x.max(-1, keepdims=True)
    at = jnp.where(x == best, jnp.arange(x.shape[-1], dtype=jnp.int32), x.shape[-1] - 1)
    return at.min(-1)


def top_k(x: Array, k: int) -> tuple[Array, Array]:
    """The k largest of the last axis, best first, and where they stand; of equals the first.

    Of a long axis only the k chunks with the largest values are sorted.
    """
    length = x.shape[-1]
    chunks = -(-length // CHUNK)
    if chunks < 4 * k:
        values, at = jax.lax.top_k(x, k)
        return values, at
    pieces = padded(x, x.ndim - 1, chunks * CHUNK, float("-inf")).reshape(*x.shape[:-1], chunks, CHUNK)
    _, best = jax.lax.top_k(pieces.max(-1), k)
    best = jnp.sort(best, -1)  # so that the first of equals stays the first
    some = jnp.take_along_axis(pieces, best[..., None], -2).reshape(*x.shape[:-1], k * CHUNK)
    places = (best[..., None] * CHUNK + jnp.arange(CHUNK, dtype=jnp.int32)).reshape(some.shape)
    values, at = jax.lax.top_k(some, k)
    return values, jnp.minimum(jnp.take_along_axis(places, at, -1), length - 1)


def best_of_sums(scores: Array, sums: Array, k: int) -> tuple[Array, Array]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    return top_k(flat(scores + sums[..., None]), k)


def chooses(logits: Array, k: int) -> bool:
    """Whether the best of logits are found without writing log-probabilities down: not here."""
    return False


def sort(x: Array) -> tuple[Array, Array]:
    """The last axis in rising order, and where each value of it stands in that order."""
    order = jnp.argsort(x, -1)
    return jnp.take_along_axis(x, order, -1), jnp.argsort(order, -1)


def rising(x: Array) -> Array:
    """Where the values of the last axis stand, in rising order."""
    return jnp.argsort(x, -1)


def summed(x: Array) -> Array:
    """(..., N) -> (..., 1)."""
    return x.sum(-1, keepdims=True)


def whole(x: Array) -> Array:
    """As whole numbers."""
    return x.astype(jnp.int32)


def taken(x: Array, index: Array) -> Array:
    """x (N,) at indices of any shape."""
    return x[index]


def take_last(x: Array, index: Array) -> Array:
    """x at index along the last axis."""
    return jnp.take_along_axis(x, index, -1)


def flat(x: Array) -> Array:
    """(B, K, V) -> (B, K * V)."""
    return x.reshape(x.shape[0], -1)


def merged(x: Array) -> Array:
    """(B, R, ...) -> (B * R, ...)."""
    return x.reshape(-1, *x.shape[2:])


def reshaped(x: Array, shape: Sequence[int]) -> Array:
    """x in another shape, of which one axis may be -1."""
    return x.reshape(*shape)


def pick(x: Array, index: Array) -> Array:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return x[jnp.arange(index.shape[0])[:, None], index]


def take_rows(x: Array, index: Array) -> Array:
    """Some rows."""
    return x[index]


def inverse(order: Array) -> Array:
    """The permutation that undoes another."""
    return jnp.argsort(order)


def divided(x: Array, by: int) -> tuple[Array, Array]:
    """Quotient and remainder."""
    return x // by, x % by


def power(base: Any, exponent: float, most: int) -> Array:
    """A whole number from 0 to `most` to a power, in float32 as rounded from double."""
    table = np.maximum(np.arange(most + 1, dtype=np.float64), 1.0 if exponent < 0 else 0.0) ** exponent
    return jnp.asarray(table.astype(np.float32))[base]


def number(x: Array) -> Array:
    """0.0 and 1.0 for False and True."""
    return x.astype(jnp.float32)


def least(x: Array) -> Array:
    """(B, K) -> (B, 1)."""
    return x.min(1, keepdims=True)


def greatest(x: Array) -> Array:
    """The largest of all."""
    return x.max()


def all_of(x: Array) -> Array:
    """(B, K) -> (B,)."""
    return x.all(1)


def any_of(x: Array) -> Array:
    """(B, K) -> (B, 1)."""
    return x.any(1, keepdims=True)


def flags(x: Array) -> Array:
    """A mask of numbers or of booleans as booleans."""
    return x != 0


def false(like: Array) -> Array:
    """False, in like's shape."""
    return jnp.zeros(like.shape, bool)


def true(like: Array) -> Array:
    """True, broadcasting to like's shape."""
    return jnp.ones((), bool)


def last_axis(x: Array) -> Array:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if x.ndim == 3 else x


def while_loop(more: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
    """Repeats `body` while `more` holds, as one compiled loop."""
    return jax.lax.while_loop(more, body, state)
