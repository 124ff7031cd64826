"""Array operations over NumPy's arrays: what stacks do before their layers, and what the kernels do to a vocabulary."""

from collections.abc import Sequence

import numpy as np

from conjoin.backends.numpy import arrays
from conjoin.engine import rows
from conjoin.engine.arrays import Array
from conjoin.engine.arrays import zeros as aligned
from conjoin.engine.host.layers import Constant, Embedding
from conjoin.engine.host.threads import host_threads

__all__ = [
    "argmax",
    "best_of_each",
    "best_of_logits",
    "best_of_sums",
    "chooses",
    "dots",
    "first_row",
    "heads_first",
    "log_softmax",
    "normalised",
    "scaled",
    "sloped",
    "top_k",
    "transposed",
    "turns",
    "zeros",
]


def zeros(shape: Sequence[int], like: Array, dtype: object = None) -> Array:
    """Zeros of like's type, or of `dtype`, as the kernels read them fastest."""
    return aligned(tuple(shape), dtype or like.dtype)


def scaled(x: Array, scale: float) -> Array:
    """x * scale, with nothing done for 1."""
    return x if scale == 1.0 else x * np.float32(scale)


def first_row(table: Embedding) -> Array:
    """The first row of a table, which broadcasts over all tokens."""
    row: Array = table.weight[0]
    return row


def normalised(x: Array) -> Array:
    """Vectors along the last axis, of length one."""
    found: Array = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return found


def dots(a: Array, b: Array) -> Array:
    """Every product of a (B, H, T, D) with b (1 or B, H, S, D) -> (B, H, T, S)."""
    found: Array = a @ transposed(b)
    return found


def transposed(x: Array) -> Array:
    """The last two axes in turn."""
    return x.swapaxes(-1, -2)


def turns(positions: Array, frequencies: Sequence[float], scale: float, like: Array) -> tuple[Array, Array]:
    """Cosines and sines (1 or B, 1, T, pairs) of rotary positions (1 or B, T)."""
    angles = positions[:, None, :, None].astype(np.float32) * np.asarray(frequencies, np.float32)
    return np.cos(angles) * np.float32(scale), np.sin(angles) * np.float32(scale)


def sloped(slopes: Constant, keys: Array, like: Array) -> Array:
    """(H,) slopes times the places of keys (1, S) -> (1, H, 1, S)."""
    found: Array = slopes.values[None, :, None, None] * keys[:, None, None, :].astype(np.float32)
    return found


def heads_first(x: Array) -> Array:
    """(1, T, S, H) -> (1, H, T, S)."""
    return x.transpose(0, 3, 1, 2)


def log_softmax(x: Array) -> Array:
    """In float32, along the last axis."""
    return rows.log_softmax(x, host_threads()) if rows.suits(x.shape[-1], x.size) else arrays.log_softmax(x)


def top_k(x: Array, k: int) -> tuple[Array, Array]:
    """The k largest of the last axis, best first, and where they stand."""
    return rows.best(x, k, host_threads()) if rows.suits(x.shape[-1], x.size, k) else arrays.top_k(x, k)


def argmax(x: Array) -> Array:
    """Along the last axis."""
    return top_k(x, 1)[1][..., 0] if rows.suits(x.shape[-1], x.size) else x.argmax(-1)


def best_of_sums(scores: Array, sums: Array, k: int) -> tuple[Array, Array]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    if not rows.suits(scores.shape[-1], scores.size, k):
        return arrays.best_of_sums(scores, sums, k)
    return best_of_each(*rows.best(scores, k, host_threads()), sums, scores.shape[-1])


def chooses(logits: Array, k: int) -> bool:
    """Whether `best_of_logits` takes them."""
    return rows.suits(logits.shape[-1], logits.size, k)


def best_of_logits(logits: Array, forbidden: Array, sums: Array, k: int) -> tuple[Array, Array]:
    """As `best_of_sums`, of the log-probabilities of logits (B, K, V), without forbidden tokens (B, K, N), -1 for none."""
    return best_of_each(*rows.best_of_logits(logits, forbidden, k, host_threads()), sums, logits.shape[-1])


def best_of_each(values: Array, places: Array, sums: Array, width: int) -> tuple[Array, Array]:
    """The best (B, k) of each beam's own k (B, K, k), after sums (B, K), and where they stand in (B, K * V)."""
    k = values.shape[-1]
    found, chosen = arrays.top_k(arrays.flat(values + sums[..., None]), k)
    return found, (chosen // k) * width + arrays.take_last(arrays.flat(places), chosen)
