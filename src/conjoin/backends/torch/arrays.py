"""Array operations in PyTorch. In decoding rows are sources, and the last axis is tokens or vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import torch
from conjoin.engine import rows
from torch import Tensor

__all__ = [
    "absolute",
    "added_at",
    "all_of",
    "all_seen",
    "all_true",
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
    "distinct",
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
    "is_array",
    "is_in",
    "is_single",
    "last_axis",
    "least",
    "least_last",
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
    "places_of",
    "power",
    "reshaped",
    "rising",
    "room_for_steps",
    "set_column",
    "slot",
    "softmax",
    "sort",
    "stacked",
    "summed",
    "swapped",
    "take_last",
    "take_rows",
    "taken",
    "tanh",
    "token_column",
    "top_k",
    "total",
    "true",
    "where",
    "where_true",
    "whole",
    "wide",
    "with_step",
    "zeros",
]


where, concat, tanh, absolute, exp = torch.where, torch.cat, torch.tanh, torch.abs, torch.exp


def clipped(x: Tensor, low: float, high: float) -> Tensor:
    """Within low and high."""
    return x.clamp(low, high)


def arange(length: int, like: Tensor) -> Tensor:
    """0, 1... length - 1, where `like` lives."""
    return torch.arange(length, device=like.device)


def zeros(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Zeros of like's type, or of `dtype`, where `like` lives."""
    return torch.zeros(*shape, dtype=dtype or like.dtype, device=like.device)


def full(shape: Sequence[int], value: float, like: Tensor) -> Tensor:
    """A filled array of like's type."""
    return torch.full(tuple(shape), value, dtype=like.dtype, device=like.device)


def padded(x: Tensor, axis: int, length: int, value: float) -> Tensor:
    """x as it is: lengths change freely here."""
    return x


def cumsum(x: Tensor) -> Tensor:
    """Running sums along the last axis."""
    return x.cumsum(-1)


def total(x: Tensor) -> Tensor:
    """Sums along the last axis; of booleans how many are True."""
    return x.sum(-1)


def normalised(x: Tensor) -> Tensor:
    """Vectors along the last axis, of length one."""
    return torch.nn.functional.normalize(x, dim=-1)


def log_softmax(x: Tensor) -> Tensor:
    """In float32, along the last axis."""
    return rows.log_softmax(x.float())


def broadcast(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A view of another shape."""
    return x.expand(*shape)


def wide(x: Tensor) -> Tensor:
    """In float32."""
    return x.float()


def softmax(x: Tensor) -> Tensor:
    """Along the last axis."""
    return x.softmax(-1)


def argmax(x: Tensor) -> Tensor:
    """Along the last axis."""
    return rows.argmax(x)


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of the last axis, best first, and where they stand."""
    return rows.best(x, k)


def best_of_sums(scores: Tensor, sums: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    return rows.best_of_sums(scores, sums, k)


def sort(x: Tensor) -> tuple[Tensor, Tensor]:
    """The last axis in rising order, and where each value of it stands in that order."""
    values, order = torch.sort(x)
    return values, order.argsort(-1)


def rising(x: Tensor) -> Tensor:
    """Where the values of the last axis stand, in rising order."""
    return x.argsort(-1)


def summed(x: Tensor) -> Tensor:
    """(..., N) -> (..., 1)."""
    return x.sum(-1, keepdim=True)


def whole(x: Tensor) -> Tensor:
    """As whole numbers."""
    return x.long()


def take_last(x: Tensor, index: Tensor) -> Tensor:
    """x at index along the last axis."""
    return x.gather(-1, index)


def flat(x: Tensor) -> Tensor:
    """(B, K, V) -> (B, K * V)."""
    return x.flatten(1)


def merged(x: Tensor) -> Tensor:
    """(B, R, ...) -> (B * R, ...)."""
    return x.reshape(-1, *x.shape[2:])


def reshaped(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x in another shape, of which one axis may be -1."""
    return x.reshape(*shape)


def swapped(x: Tensor) -> Tensor:
    """The second and the third axis in turn."""
    return x.transpose(1, 2)


def places_of(flags: Tensor) -> Tensor:
    """Where flags (B, K, N) are True, as often in each row: (B, K, how often), rising."""
    return flags.nonzero()[:, -1].reshape(*flags.shape[:2], -1)


def stacked(arrays: Sequence[Tensor]) -> Tensor:
    """Arrays of one shape along a new first axis."""
    return torch.stack(list(arrays))


def distinct(x: Tensor) -> tuple[list[int], Tensor]:
    """The different numbers of a vector, and which of them stands where."""
    numbers, places = torch.unique(x, return_inverse=True)
    return numbers.tolist(), places


def taken(x: Tensor, index: Tensor) -> Tensor:
    """x (N,) at indices of any shape."""
    return x[index]


def entry(table: np.ndarray[Any, Any], at: int) -> float:
    """A table's value, that of its ends beyond them."""
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


def pick(x: Tensor, index: Tensor) -> Tensor:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return x[torch.arange(len(index), device=index.device)[:, None], index]


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Some rows."""
    return x.index_select(0, index)


def where_true(x: Tensor) -> Tensor:
    """The indices where a vector is True."""
    return x.nonzero()[:, 0]


def inverse(order: Tensor) -> Tensor:
    """The permutation that undoes another."""
    return order.argsort()


def is_array(x: Any) -> bool:
    """Whether it has rows."""
    return isinstance(x, Tensor)


def divided(x: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder."""
    return x // by, x % by


def power(base: int, exponent: float, most: int) -> float:
    """A number, at most `most`, to a power."""
    return float(base**exponent)


def number(x: Tensor) -> Tensor:
    """0.0 and 1.0 for False and True."""
    return x.float()


def least(x: Tensor) -> Tensor:
    """(B, K) -> (B, 1)."""
    return x.amin(1, keepdim=True)


def greatest(x: Tensor) -> Tensor:
    """The largest of all."""
    return x.max()


def longest(lengths: Sequence[Any]) -> int:
    """The largest of some lengths."""
    return max(int(length) for length in lengths)


def all_of(x: Tensor) -> Tensor:
    """(B, K) -> (B,)."""
    return x.all(1)


def all_true(x: Tensor) -> Tensor:
    """Whether a vector is True everywhere."""
    return x.all()


def least_last(x: Tensor) -> Tensor:
    """The least of the last axis."""
    return x.amin(-1)


def any_of(x: Tensor) -> Tensor:
    """(B, K) -> (B, 1)."""
    return x.any(1, keepdim=True)


def flags(x: Tensor) -> Tensor:
    """A mask of numbers or of booleans as booleans."""
    return x != 0


def false(like: Tensor) -> Tensor:
    """False, in like's shape."""
    return torch.zeros_like(like, dtype=torch.bool)


def true(like: Tensor) -> Tensor:
    """True, broadcasting to like's shape."""
    return torch.ones((), dtype=torch.bool, device=like.device)


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


def column(ids: Tensor, at: int) -> Tensor:
    """ids[..., at] as (..., 1)."""
    at = max(at, 0)
    return ids[..., at : at + 1]


def slot(x: Tensor, at: int) -> Tensor:
    """x (B, T, W) at one token -> (B, 1, W)."""
    return x[:, at : at + 1]


def filled(length: int, slots: int, like: Tensor) -> None:
    """No mask: a hypothesis without lineage sees all that is visible."""


def set_column(ids: Tensor, at: int, tokens: Tensor) -> Tensor:
    """ids with tokens in column `at`: in place, since every search hands over its own."""
    ids[..., at] = tokens
    return ids


def last_axis(x: Tensor) -> Tensor:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if x.dim() == 3 else x


def own_slots(lineage: Tensor, at: int) -> Tensor:
    """Marks, for each hypothesis, the slot it writes next as its own: in place."""
    each = torch.arange(lineage.shape[1], device=lineage.device)
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
