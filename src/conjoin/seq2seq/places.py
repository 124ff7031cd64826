"""Where tokens stand, and which of them each may see."""

from collections.abc import Callable
from typing import Any

from conjoin.blocks import Place

__all__ = ["causal_mask", "left_out", "placed", "shortened"]

Array = Any


def placed(nn: Any, part: Any, ids: Array | None, positions: Array | None, like: Array, start: Any, seen: Any) -> Place:
    """Where tokens stand that come one after another, `start` of them before; `seen` tokens are attended to."""
    length, embed = nn.size(like, 1), part.embed
    plain = nn.arange(length, like)[None] + start
    rows = embed.given_rows(positions) if positions is not None else embed.rows(ids, length, start, like)
    order = (plain, nn.arange(seen, like)[None]) if part.spec.ordered else None
    return Place(rows, plain if positions is None else positions, order)


def causal_mask(nn: Any, length: Any, past: Any, seen: Any, like: Array) -> Array:
    """(1, 1, T, seen): each of `length` tokens sees itself and what came before."""
    return (nn.arange(seen, like)[None, :] <= nn.arange(length, like)[:, None] + past)[None, None]


def left_out(nn: Any, part: Any, seen: Array | None, read: Array | None) -> Any:
    """By which a part leaves out what is hidden in `seen` (B, T), where states are read in `read` alone; None for not."""
    return nn.packing(part, seen, read) if part.spec.by_token else None


def shortened(nn: Any, seen: Array, lengths: Callable[[Array], Array], length: Any) -> Array:
    """A mask (B, samples) as the (B, length) that convolutions make of it, of which `lengths` of samples are real.

    A row too short for any is counted from its end, as transformers counts it.
    """
    last = (lengths(nn.cumsum(seen)[:, -1:]) - 1) % length
    return nn.arange(length, seen)[None] <= last
