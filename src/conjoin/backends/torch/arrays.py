"""Array operations in PyTorch. In decoding rows are sources, and the last axis is tokens or vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import torch
from conjoin.engine import tensor_rows as rows
from torch import Tensor

__all__ = [
    "absolute",
    "all_of",
    "all_true",
    "any_of",
    "arange",
    "argmax",
    "argmax_without",
    "best_of_each",
    "best_of_logits",
    "best_of_sums",
    "broadcast",
    "chooses",
    "cleared",
    "clipped",
    "concat",
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
    "merged",
    "normalised",
    "number",
    "padded",
    "pick",
    "places_of",
    "power",
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
    "tanh",
    "top_k",
    "total",
    "true",
    "where",
    "where_true",
    "whole",
    "wide",
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


def argmax_without(logits: Tensor, forbidden: Tensor) -> Tensor:
    """As `argmax` of logits (B, K, V), without forbidden tokens (B, K, N), -1 for none, whose logits are overwritten."""
    width = logits.shape[-1]
    cut = torch.where((forbidden >= 0) & (forbidden < width), -torch.inf, torch.inf)
    return rows.argmax(logits.scatter_reduce_(-1, forbidden.clamp(0, width - 1), cut, "amin"))


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of the last axis, best first, and where they stand."""
    return rows.best(x, k)


def best_of_sums(scores: Tensor, sums: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    return rows.best_of_sums(scores, sums, k)


def chooses(logits: Tensor, k: int) -> bool:
    """Whether `best_of_logits` takes them."""
    return rows.suits(logits, k)


def best_of_logits(logits: Tensor, forbidden: Tensor, sums: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `best_of_sums`, of the log-probabilities of logits (B, K, V), without forbidden tokens (B, K, N), -1 for none."""
    return rows.best_of_logits(logits, forbidden, sums, k)


def best_of_each(values: Tensor, places: Tensor, sums: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The best (B, k) of each beam's own k (B, K, k), after sums (B, K), and where they stand in (B, K * V)."""
    return rows.best_of_each(values, places, sums, width)


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


def pick(x: Tensor, index: Tensor) -> Tensor:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return x[torch.arange(len(index), device=index.device)[:, None], index]


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Some rows."""
    return x.index_select(0, index)


def take_slots(x: Tensor, index: Tensor, used: int) -> Tensor:
    """Some rows of a cache (B, H, slots, D), of which the first slots are used; zeros in the others."""
    found = cleared((len(index), *x.shape[1:]), x)
    found[:, :, :used] = x[:, :, :used].index_select(0, index)
    return found


def cleared(shape: Sequence[int], like: Tensor) -> Tensor:
    """Zeros as `zeros` makes them, on a CPU in memory that costs nothing until it is written."""
    if like.device.type == "cpu" and like.dtype == torch.float32 and type(like) is Tensor:
        return torch.from_numpy(np.zeros(tuple(shape), np.float32))
    return zeros(shape, like)


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


def power(base: int | Tensor, exponent: float, most: int) -> float | Tensor:
    """A number, at most `most`, to a power; so each of several, with the same digits."""
    if isinstance(base, Tensor):
        return torch.tensor([float(x**exponent) for x in base.flatten().tolist()]).view(base.shape)
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


def last_axis(x: Tensor) -> Tensor:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if x.dim() == 3 else x
