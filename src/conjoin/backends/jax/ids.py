"""What decoding does with ids, with steps that are recorded, and with slots of the cache, in JAX."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import jax
import jax.numpy as jnp
from conjoin.backends.jax.arrays import broadcast, false, flags, merged, padded

__all__ = [
    "added_at",
    "all_seen",
    "by_step",
    "column",
    "constant_row",
    "entry",
    "equal_anywhere",
    "filled",
    "grown",
    "is_in",
    "is_single",
    "lineage",
    "longest",
    "marked",
    "one_of",
    "own_slots",
    "room_for_steps",
    "set_column",
    "slot",
    "token_column",
    "with_step",
]

Array = Any  # a jax.Array


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


def longest(lengths: Sequence[Any]) -> Any:
    """The largest of some lengths: of one, since all rows stay together."""
    return lengths[0]


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
