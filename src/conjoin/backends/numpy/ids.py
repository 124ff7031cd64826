"""What decoding does with ids, with steps that are recorded, and with slots of the cache, in NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from conjoin.backends.numpy.arrays import flags, merged

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

Array = Any  # of NumPy


def entry(table: Array, at: int) -> float:
    """A table's value, that of its ends beyond them."""
    return float(table[min(max(at, 0), len(table) - 1)])


def constant_row(values: Sequence[float], like: Array) -> Array:
    """Some numbers as a vector of like's type."""
    return np.asarray(values, like.dtype)


def added_at(x: Array, tokens: Sequence[int], values: Array) -> Array:
    """x (B, K, V) with values (B, K, G) added at tokens, of which one may come several times."""
    x = x.copy()
    for i, token in enumerate(tokens):
        x[..., token] += values[..., i]
    return x


def room_for_steps(steps: int, shape: Sequence[int], like: Any) -> list[Array]:
    """Where arrays of each step go: none yet."""
    return []


def with_step(room: list[Array], at: int, x: Array) -> list[Array]:
    """What there was, and that of one more step."""
    return [*room, x]


def by_step(room: list[Array], rows: int, steps: int) -> tuple[Array, ...]:
    """Each step's (B, K, ...) as (rows * K, ...)."""
    return tuple(merged(x) for x in room[:steps])


def longest(lengths: Sequence[Any]) -> int:
    """The largest of some lengths."""
    return max(int(length) for length in lengths)


def one_of(tokens: Sequence[int], like: Array) -> Array:
    """(V,) True at some tokens, for like (..., V)."""
    mask = np.zeros(like.shape[-1], bool)
    mask[list(tokens)] = True
    return mask


def is_in(x: Array, tokens: Sequence[int]) -> Array:
    """Whether each is one of some tokens."""
    return np.isin(x, tokens)


def marked(ids: Array, flags: Array, vocab: int) -> Array:
    """ids and flags (B, K, N) -> (B, K, V): the tokens that stand somewhere with a flag; ids beyond V are nobody's."""
    seen = np.zeros((*ids.shape[:-1], vocab), bool)
    *rows, _ = where = (np.broadcast_to(flags, ids.shape) & (ids < vocab)).nonzero()
    seen[(*rows, ids[where])] = True
    return seen


def column(ids: Array, at: int) -> Array:
    """ids[..., at] as (..., 1)."""
    at = max(at, 0)
    return ids[..., at : at + 1]


def slot(x: Array, at: int) -> Array:
    """x (B, T, W) at one token -> (B, 1, W)."""
    return x[:, at : at + 1]


def filled(length: int, slots: int, like: Array) -> None:
    """No mask: a hypothesis without lineage sees all that is there."""


def set_column(ids: Array, at: int, tokens: Array) -> Array:
    """ids with tokens in column `at`: in place, since every search hands over its own."""
    ids[..., at] = tokens
    return ids


def own_slots(lineage: Array, at: int) -> Array:
    """Marks, for each hypothesis, the slot it writes next as its own: in place."""
    each = np.arange(lineage.shape[1])
    lineage[:, each, each + at] = True
    return lineage


def lineage(prompt: Array, mask: Array | None, count: int, slots: int) -> Array | None:
    """(B, K, slots): the prompt's slots are everybody's past. None where there is nothing to hide."""
    if count == 1 and mask is None:
        return None
    past = np.zeros((len(prompt), count, slots), bool)
    past[:, :, : prompt.shape[1]] = True if mask is None else flags(mask)[:, None]
    return past


def grown(prompt: Array, count: int, length: int, fill: int, filled: int) -> Array:
    """(B, P) -> (B, K, L), the prompt first and `fill` after it."""
    ids = np.full((len(prompt), count, length), fill, np.int64)
    ids[:, :, : prompt.shape[1]] = prompt[:, None]
    return ids


def token_column(token: int | Sequence[int], batch: int, like: Array) -> Array:
    """(B, 1): one token for all rows, or one a row."""
    return np.broadcast_to(np.asarray(token, np.int64).reshape(-1, 1), (batch, 1))


def equal_anywhere(a: Array, b: Array) -> bool:
    """Whether two columns have an equal row."""
    return bool((a == b).any())


def all_seen(seen: Array) -> bool:
    """Whether a mask hides nothing."""
    return bool(seen.all())


def is_single(length: int, mask: Array | None) -> bool:
    """Whether a prompt of one token needs no mask."""
    return length == 1 and mask is None
