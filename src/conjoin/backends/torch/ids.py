"""What decoding does with ids, with steps that are recorded, and with slots of the cache, in PyTorch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import torch
from conjoin.backends.torch.arrays import false, flags, merged
from torch import Tensor

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


def entry(table: np.ndarray[Any, Any], at: int | Tensor) -> float | Tensor:
    """A table's value, that of its ends beyond them; at places of any shape, float32 values of that shape."""
    if isinstance(at, Tensor):
        return torch.from_numpy(np.asarray(table, np.float32))[at.clamp(0, len(table) - 1)]
    return float(table[min(max(at, 0), len(table) - 1)])


def constant_row(values: Sequence[float], like: Tensor) -> Tensor:
    """Some numbers as a vector of like's type."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def added_at(x: Tensor, tokens: Sequence[int], values: Tensor) -> Tensor:
    """x (B, K, V) with values (B, K, G) added at tokens, of which one may come several times."""
    return x.index_add(-1, torch.tensor(tokens, device=x.device), values)


def room_for_steps(steps: int, shape: Sequence[int], like: Tensor) -> list[Tensor]:
    """Where arrays of each step go: none yet."""
    return []


def with_step(room: list[Tensor], at: int, x: Tensor) -> list[Tensor]:
    """What there was, and that of one more step."""
    return [*room, x]


def by_step(room: list[Tensor], rows: int, steps: int) -> tuple[Tensor, ...]:
    """Each step's (B, K, ...) as (rows * K, ...)."""
    return tuple(merged(x) for x in room[:steps])


def longest(lengths: Sequence[Any]) -> int:
    """The largest of some lengths."""
    return max(int(length) for length in lengths)


def one_of(tokens: Sequence[int], like: Tensor) -> Tensor:
    """(V,) True at some tokens, for like (..., V)."""
    mask = torch.zeros(like.shape[-1], dtype=torch.bool, device=like.device)
    mask[list(tokens)] = True
    return mask


def is_in(x: Tensor, tokens: Sequence[int]) -> Tensor:
    """Whether each is one of some tokens."""
    found = false(x)
    for token in tokens:
        found = found | (x == token)
    return found


def marked(ids: Tensor, flags: Tensor, vocab: int) -> Tensor:
    """ids and flags (B, K, N) -> (B, K, V): the tokens that stand somewhere with a flag; ids beyond V are nobody's."""
    seen = torch.zeros(*ids.shape[:-1], vocab, dtype=torch.uint8, device=ids.device)
    flags = flags & (ids < vocab)
    return seen.scatter_reduce_(-1, ids.clamp(0, vocab - 1), flags.to(torch.uint8), "amax") > 0


def column(ids: Tensor, at: int | Tensor) -> Tensor:
    """ids[..., at] as (..., 1); each row of (B, K, L) at its own place, where there are B of them."""
    if isinstance(at, Tensor):
        return ids.gather(-1, at.clamp(min=0).reshape(-1, 1, 1).expand(*ids.shape[:2], 1))
    at = max(at, 0)
    return ids[..., at : at + 1]


def slot(x: Tensor, at: int) -> Tensor:
    """x (B, T, W) at one token -> (B, 1, W)."""
    return x[:, at : at + 1]


def filled(length: int, slots: int, like: Tensor) -> None:
    """No mask: a hypothesis without lineage sees all that is visible."""


def set_column(ids: Tensor, at: int | Tensor, tokens: Tensor) -> Tensor:
    """ids with tokens in column `at`, or each row's in its own: in place, since every search hands over its own."""
    if isinstance(at, Tensor):
        return ids.scatter_(-1, at.reshape(-1, 1, 1).expand(*tokens.shape, 1), tokens[..., None])
    ids[..., at] = tokens
    return ids


def own_slots(lineage: Tensor, at: int | Tensor) -> Tensor:
    """Marks, for each hypothesis, the slot it writes next as its own, in place; from `at` on, or each row (B,) from its own."""
    each = torch.arange(lineage.shape[1], device=lineage.device)
    if isinstance(at, Tensor):
        return lineage.scatter_(-1, (at[:, None] + each)[..., None], value=True)
    lineage[:, each, each + at] = True
    return lineage


def lineage(prompt: Tensor, mask: Tensor | None, count: int, slots: int) -> Tensor | None:
    """(B, K, slots): the prompt's slots are everybody's past. None where there is nothing to hide."""
    if count == 1 and mask is None:
        return None
    batch, length = prompt.shape
    past = torch.zeros(batch, count, slots, dtype=torch.bool, device=prompt.device)
    past[:, :, :length] = True if mask is None else flags(mask)[:, None]
    return past


def grown(prompt: Tensor, count: int, length: int, fill: int, filled: int) -> Tensor:
    """(B, P) -> (B, K, L), the prompt first and `fill` after it."""
    ids = torch.full((len(prompt), count, length), fill, dtype=torch.int64, device=prompt.device)
    ids[:, :, : prompt.shape[1]] = prompt[:, None]
    return ids


def token_column(token: int | Sequence[int], batch: int, like: Tensor) -> Tensor:
    """(B, 1): one token for all rows, or one a row."""
    return torch.tensor(token, device=like.device).reshape(-1, 1).expand(batch, 1)


def equal_anywhere(a: Tensor, b: Tensor) -> bool:
    """Whether two columns have an equal row."""
    return bool((a == b).any())


def all_seen(seen: Tensor) -> bool:
    """Whether a mask hides nothing."""
    return bool(seen.all())


def is_single(length: int, mask: Tensor | None) -> bool:
    """Whether a prompt of one token needs no mask."""
    return length == 1 and mask is None
