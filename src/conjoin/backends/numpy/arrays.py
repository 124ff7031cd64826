"""Array operations in NumPy. In decoding rows are sources, and the last axis is tokens or vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "absolute",
    "all_of",
    "all_true",
    "any_of",
    "arange",
    "argmax",
    "argmax_without",
    "best_of_logits",
    "best_of_sums",
    "broadcast",
    "chooses",
    "clipped",
    "concat",
    "copied",
    "cumsum",
    "distinct",
    "divided",
    "exp",
    "false",
    "flags",
    "flat",
    "full",
    "greatest",
    "inverse",
    "is_array",
    "last_axis",
    "least",
    "least_last",
    "log_softmax",
    "looked_up",
    "merged",
    "number",
    "padded",
    "pick",
    "places_of",
    "power",
    "repeated",
    "reshaped",
    "rising",
    "softmax",
    "sort",
    "stacked",
    "summed",
    "swapped",
    "take_last",
    "take_rows",
    "take_slots",
    "taken",
    "top_k",
    "total",
    "true",
    "where",
    "where_true",
    "whole",
    "wide",
    "window",
    "zeros",
]

Array = Any  # of NumPy
CHUNK = 128  # values of the last axis that are looked at as one


absolute, exp, stacked = np.abs, np.exp, np.stack


def where(condition: Any, a: Any, b: Any) -> Array:
    """a where the condition holds, else b; numbers take the type of an array beside them, or else float32."""
    kinds = [x.dtype.type for x in (a, b) if isinstance(x, np.ndarray | np.generic)]
    kind = kinds[0] if kinds else np.float32 if isinstance(a, float) else np.int64
    return np.where(condition, *(x if isinstance(x, np.ndarray | np.generic) else kind(x) for x in (a, b)))


def concat(arrays: Sequence[Array], axis: int) -> Array:
    """One after another along an axis."""
    return np.concatenate(arrays, axis)


def clipped(x: Array, low: float, high: float) -> Array:
    """Within low and high."""
    return x.clip(low, high)


def copied(x: Array) -> Array:
    """A copy of its own."""
    return x.copy()


def arange(length: int, like: Any) -> Array:
    """0, 1... length - 1."""
    return np.arange(length)


def zeros(shape: Sequence[int], like: Array, dtype: Any = None) -> Array:
    """Zeros of like's type, or of `dtype`."""
    return np.zeros(tuple(shape), dtype or like.dtype)


def full(shape: Sequence[int], value: float, like: Array) -> Array:
    """A filled array of like's type."""
    return np.full(tuple(shape), value, like.dtype)


def padded(x: Array, axis: int, length: int, value: float) -> Array:
    """x as it is: lengths change freely here."""
    return x


def cumsum(x: Array) -> Array:
    """Running sums along the last axis."""
    return x.cumsum(-1)


def total(x: Array) -> Array:
    """Sums along the last axis; of booleans how many are True."""
    return x.sum(-1)


def summed(x: Array) -> Array:
    """(..., N) -> (..., 1)."""
    return x.sum(-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """In float32, along the last axis."""
    x = wide(x)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def softmax(x: Array) -> Array:
    """Along the last axis."""
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def wide(x: Array) -> Array:
    """In float32."""
    return x.astype(np.float32, copy=False)


def broadcast(x: Array, shape: Sequence[int]) -> Array:
    """A view of another shape."""
    return np.broadcast_to(x, tuple(shape))


def argmax(x: Array) -> Array:
    """Along the last axis."""
    return x.argmax(-1)


def top_k(x: Array, k: int) -> tuple[Array, Array]:
    """The k largest of the last axis, best first, and where they stand."""
    some = candidates(x, k)
    values = np.take_along_axis(x, some, -1)
    order = np.argsort(-values, -1, kind="stable")[..., :k]
    return np.take_along_axis(values, order, -1), np.take_along_axis(some, order, -1)


def candidates(x: Array, k: int) -> Array:
    """Where the k largest of the last axis stand, and some others: in the chunks with the largest values, and the rest.

    A partition of all of a vocabulary takes ten times as long (docs/decisions.md).
    """
    length = x.shape[-1]
    chunks = length // CHUNK
    if chunks <= k:
        return np.broadcast_to(np.arange(length), x.shape)
    highest = x[..., : chunks * CHUNK].reshape(*x.shape[:-1], chunks, CHUNK).max(-1)
    best = np.argpartition(highest, chunks - k, -1)[..., chunks - k :]
    inside = (best[..., None] * CHUNK + np.arange(CHUNK)).reshape(*x.shape[:-1], -1)
    rest = np.arange(chunks * CHUNK, length)
    return np.concatenate([inside, np.broadcast_to(rest, (*x.shape[:-1], len(rest)))], -1)


def best_of_sums(scores: Array, sums: Array, k: int) -> tuple[Array, Array]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    return top_k(flat(scores + sums[..., None]), k)


def chooses(logits: Array, k: int) -> bool:
    """Whether `best_of_logits` takes them."""
    return True


def argmax_without(logits: Array, forbidden: Array) -> Array:
    """As `argmax` of logits (B, K, V), without forbidden tokens (B, K, N), -1 for none."""
    scores = np.array(wide(logits))
    *rows, _ = where = ((forbidden >= 0) & (forbidden < scores.shape[-1])).nonzero()
    scores[(*rows, forbidden[where])] = -np.inf
    return argmax(scores)


def best_of_logits(logits: Array, forbidden: Array, sums: Array, k: int) -> tuple[Array, Array]:
    """As `best_of_sums`, of the log-probabilities of logits (B, K, V), without forbidden tokens (B, K, N), -1 for none."""
    scores = log_softmax(logits)
    *rows, _ = where = ((forbidden >= 0) & (forbidden < scores.shape[-1])).nonzero()
    scores[(*rows, forbidden[where])] = -np.inf
    return best_of_sums(scores, sums, k)


def sort(x: Array) -> tuple[Array, Array]:
    """The last axis in rising order, and where each value of it stands in that order."""
    order = x.argsort(-1)
    return np.take_along_axis(x, order, -1), order.argsort(-1)


def rising(x: Array) -> Array:
    """Where the values of the last axis stand, in rising order."""
    return x.argsort(-1)


def whole(x: Array) -> Array:
    """As whole numbers."""
    return x.astype(np.int64)


def take_last(x: Array, index: Array) -> Array:
    """x at index along the last axis."""
    return np.take_along_axis(x, index, -1)


def flat(x: Array) -> Array:
    """(B, K, V) -> (B, K * V)."""
    return x.reshape(len(x), -1)


def merged(x: Array) -> Array:
    """(B, R, ...) -> (B * R, ...)."""
    return x.reshape(-1, *x.shape[2:])


def reshaped(x: Array, shape: Sequence[int]) -> Array:
    """x in another shape, of which one axis may be -1."""
    return x.reshape(*shape)


def swapped(x: Array) -> Array:
    """The second and the third axis in turn."""
    return x.swapaxes(1, 2)


def places_of(flags: Array) -> Array:
    """Where flags (B, K, N) are True, as often in each row: (B, K, how often), rising."""
    return flags.nonzero()[-1].reshape(*flags.shape[:2], -1)


def distinct(x: Array) -> tuple[list[int], Array]:
    """The different numbers of a vector, and which of them stands where."""
    numbers, places = np.unique(x, return_inverse=True)
    return numbers.tolist(), places


def taken(x: Array, index: Array) -> Array:
    """x (N,) at indices of any shape."""
    return x[index]


def looked_up(table: Any, rows: Array, like: Array) -> Array:
    """Rows (...) of a constant table, in like's type."""
    return table.values[rows].astype(like.dtype)


def repeated(x: Array, times: int) -> Array:
    """Each row (B, ...) several times, one after another (B * times, ...)."""
    return x.repeat(times, 0)


def pick(x: Array, index: Array) -> Array:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return x[np.arange(len(index))[:, None], index]


def take_rows(x: Array, index: Array) -> Array:
    """Some rows."""
    return x[index]


def take_slots(x: Array, index: Array, used: int) -> Array:
    """Some rows of a cache (B, H, slots, D), of which the first slots are used; zeros in the others."""
    found = np.zeros((len(index), *x.shape[1:]), x.dtype)
    found[:, :, :used] = x[:, :, :used][index]
    return found


def where_true(x: Array) -> Array:
    """The indices where a vector is True."""
    return x.nonzero()[0]


def inverse(order: Array) -> Array:
    """The permutation that undoes another."""
    return order.argsort()


def is_array(x: Any) -> bool:
    """Whether it has rows."""
    return isinstance(x, np.ndarray)


def divided(x: Array, by: int) -> tuple[Array, Array]:
    """Quotient and remainder."""
    return x // by, x % by


def power(base: int, exponent: float, most: int) -> Any:
    """A number, at most `most`, to a power; as a float32, which leaves the type of what it meets."""
    return np.float32(float(base) ** exponent)


def number(x: Array) -> Array:
    """0.0 and 1.0 for False and True."""
    return x.astype(np.float32)


def least(x: Array) -> Array:
    """(B, K) -> (B, 1)."""
    return x.min(1, keepdims=True)


def greatest(x: Array) -> Any:
    """The largest of all."""
    return x.max()


def all_of(x: Array) -> Array:
    """(B, K) -> (B,)."""
    return x.all(1)


def all_true(x: Array) -> Array:
    """Whether a vector is True everywhere."""
    return x.all()


def least_last(x: Array) -> Array:
    """The least of the last axis."""
    return x.min(-1)


def any_of(x: Array) -> Array:
    """(B, K) -> (B, 1)."""
    return x.any(1, keepdims=True)


def flags(x: Array) -> Array:
    """A mask of numbers or of booleans as booleans."""
    return x != 0


def false(like: Array) -> Array:
    """False, in like's shape."""
    return np.zeros(like.shape, bool)


def true(like: Array) -> Array:
    """True, broadcasting to like's shape."""
    return np.ones((), bool)


def window(filled: int, slots: int) -> int:
    """How many slots a mask must cover when so many are filled: just these."""
    return filled


def last_axis(x: Array) -> Array:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if x.ndim == 3 else x
