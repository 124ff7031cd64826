"""Array operations in JAX. In decoding rows are sources, and the last axis is tokens or vocabulary; shapes are fixed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import jax
import jax.numpy as jnp

__all__ = [
    "absolute",
    "added_at",
    "all_of",
    "all_seen",
    "any_of",
    "arange",
    "argmax",
    "best_of_sums",
    "broadcast",
    "by_step",
    "clipped",
    "column",
    "concat",
    "constant_row",
    "cumsum",
    "divided",
    "entry",
    "equal_anywhere",
    "exp",
    "false",
    "filled",
    "flags",
    "flat",
    "full",
    "greatest",
    "grown",
    "inverse",
    "is_in",
    "is_single",
    "last_axis",
    "least",
    "lineage",
    "log_softmax",
    "longest",
    "marked",
    "merged",
    "normalised",
    "number",
    "one_of",
    "own_slots",
    "padded",
    "pick",
    "power",
    "reshaped",
    "rising",
    "room_for_steps",
    "set_column",
    "slot",
    "softmax",
    "sort",
    "summed",
    "take_last",
    "take_rows",
    "taken",
    "tanh",
    "token_column",
    "top_k",
    "total",
    "true",
    "where",
    "while_loop",
    "whole",
    "wide",
    "with_step",
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


def entry(table: np.ndarray[Any, Any], at: Any) -> Array:
    """A table's value in float32, that of its ends beyond them."""
    return jnp.asarray(table.astype(np.float32))[jnp.clip(at, 0, len(table) - 1)]


def constant_row(values: Sequence[float], like: Array) -> Array:
    """Some numbers as a vector of like's type."""
    return jnp.asarray(np.array(values), like.dtype)


def added_at(x: Array, tokens: Sequence[int], values: Array) -> Array:
    """x (B, K, V) with values (B, K, G) added at tokens, of which one may come several times."""
    return x.at[..., np.array(tokens)].add(values)


def room_for_steps(steps: int, shape: Sequence[int], like: Array) -> Array:
    """Where arrays of each step go, along the third axis."""
    return jnp.zeros((*shape[:2], steps, *shape[2:]), jnp.float32)


def with_step(room: Array, at: Any, x: Array) -> Array:
    """The same with that of one step."""
    return jax.lax.dynamic_update_slice_in_dim(room, x[:, :, None], at, 2)


def by_step(room: Array, rows: int, steps: int) -> tuple[Array, ...]:
    """Each step's (B, K, ...) as (rows * K, ...)."""
    return tuple(merged(room[:rows, :, at]) for at in range(steps))


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


def longest(lengths: Sequence[Any]) -> Any:
    """The largest of some lengths: of one, since all rows stay together."""
    return lengths[0]


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


def one_of(tokens: Sequence[int], like: Array) -> Array:
    """(V,) True at some tokens, for like (..., V)."""
    mask = np.zeros(like.shape[-1], bool)
    mask[list(tokens)] = True
    return jnp.asarray(mask)


def is_in(x: Array, tokens: Sequence[int]) -> Array:
    """Whether each is one of some tokens."""
    found = false(x)
    for token in tokens:
        found = found | (x == token)
    return found


def marked(ids: Array, flags: Array, vocab: int) -> Array:
    """ids and flags (B, K, N) -> (B, K, V): the tokens that stand somewhere with a flag; ids beyond V are nobody's."""
    rows = jnp.arange(ids.shape[0])[:, None, None], jnp.arange(ids.shape[1])[None, :, None]
    ids = jnp.where(flags & (ids >= 0) & (ids < vocab), ids, vocab)  # outside: dropped
    return jnp.zeros((*ids.shape[:-1], vocab), bool).at[(*rows, ids)].set(True, mode="drop")


def column(ids: Array, at: Any) -> Array:
    """ids[..., at] as (..., 1)."""
    return jax.lax.dynamic_slice_in_dim(ids, jnp.maximum(at, 0), 1, ids.ndim - 1)


def slot(x: Array, at: Any) -> Array:
    """x (B, T, W) at one token -> (B, 1, W)."""
    return jax.lax.dynamic_slice_in_dim(x, at, 1, 1)


def set_column(ids: Array, at: Any, tokens: Array) -> Array:
    """ids with tokens in column `at`."""
    return jax.lax.dynamic_update_slice_in_dim(ids, tokens[..., None].astype(ids.dtype), at, ids.ndim - 1)


def last_axis(x: Array) -> Array:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if x.ndim == 3 else x


def own_slots(lineage: Array, at: Any) -> Array:
    """Marks, for each hypothesis, the slot it writes next as its own."""
    count, slots = lineage.shape[1:]
    return lineage | (jnp.arange(slots)[None, :] == at + jnp.arange(count)[:, None])[None]


def lineage(prompt: Array, mask: Array | None, count: int, slots: int) -> Array | None:
    """(B, K, slots): the prompt's slots are everybody's past. None where there is nothing to hide."""
    if count == 1 and mask is None:
        return None
    batch, length = prompt.shape
    seen = jnp.ones((batch, length), bool) if mask is None else flags(mask)
    return broadcast(padded(seen, 1, slots, 0)[:, None], (batch, count, slots))


def filled(length: Any, slots: int, like: Array) -> Array:
    """(1, 1, 1, slots) True where a slot of a cache is filled: what one hypothesis without lineage may see."""
    return (jnp.arange(slots) < length)[None, None, None]


def grown(prompt: Array, count: int, length: int, fill: int, filled: Any) -> Array:
    """(B, P) -> (B, K, L), the first `filled` tokens of the prompt, and `fill` after them."""
    prompt = jnp.where(jnp.arange(prompt.shape[1]) < filled, prompt, fill)
    ids = padded(prompt, 1, length, fill)
    return broadcast(ids[:, None], (len(prompt), count, length)).astype(jnp.int32)


def token_column(token: int | Sequence[int], batch: int, like: Array) -> Array:
    """(B, 1): one token for all rows, or one a row."""
    return np.broadcast_to(np.asarray(token, np.int32).reshape(-1, 1), (batch, 1))


def equal_anywhere(a: Array, b: Array) -> bool:
    """Whether two columns have an equal row; True where the values are not known yet."""
    return isinstance(a, jax.core.Tracer) or bool((a == b).any())


def all_seen(seen: Array) -> bool:
    """Whether a mask is known to hide nothing."""
    return not isinstance(seen, jax.core.Tracer) and bool(seen.all())


def is_single(length: int, mask: Array | None) -> bool:
    """Whether a prompt needs no mask: never, since the slots that are not filled must be hidden."""
    return False


def while_loop(more: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
    """Repeats `body` while `more` holds, as one compiled loop."""
    return jax.lax.while_loop(more, body, state)
