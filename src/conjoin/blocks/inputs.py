"""What a stack reads, and what a pass leaves behind.

Shapes: B batch, T tokens in, S tokens attended to, W width, H heads, D a head's width. Masks are boolean, True where a token may
be seen, and broadcast to (B, H, T, S); None hides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["Cache", "Inputs", "Place", "Sight", "Trace", "packed", "padded"]

Array = Any
Cache = tuple[Array, Array]  # keys and values, (B, heads of keys, slots, D) each


@dataclass
class Trace:
    """What a pass leaves behind for who asked: hidden states (embeddings first), attention weights (B, H, T, S)."""

    attentions: list[Array] | None = None
    cross_attentions: list[Array] | None = None
    hidden_states: list[Array] | None = None

    @classmethod
    def of(cls, *, attentions: bool, hidden_states: bool) -> "Trace | None":
        """A trace of what is asked for, or None where nothing is."""
        if not (attentions or hidden_states):
            return None
        return cls([] if attentions else None, [] if attentions else None, [] if hidden_states else None)


class Place(NamedTuple):
    """Where tokens stand; each (1 or B, T)."""

    rows: Array | None  # of the position table
    positions: Array  # as rotary positions count
    order: tuple[Array, Array] | None  # the tokens' places, and those of what they attend to (1, S)
    grid: tuple[int, int] | None = None  # of the patches of an image


class Sight(NamedTuple):
    """What a layer's attention may see, and how it tells places apart."""

    mask: Array | None
    bias: Array | None = None  # (1 or B, H, T, S), added to the scores
    turn: tuple[Array, Array] | None = None  # cosines and sines (1 or B, 1, T, pairs) for queries and keys
    own: Any = None  # what attention of another kind makes of the whole stack's input, once
    packing: Any = None  # of the tokens, and of the memory, where padding is left out
    memory_packing: Any = None


@dataclass
class Inputs:
    """What a stack reads, already in its own terms."""

    embeddings: Array  # (B, T, W)
    place: Place
    mask: Array | None = None
    memory: Array | Sequence[Cache] | None = None  # (B, S, W), or what each layer with cross-attention made of it
    memory_mask: Array | None = None
    cache: Sequence[Cache] | None = None
    at: Any = 0  # the cache slot of the first new token
    trace: Trace | None = field(default=None)
    stands: Array | None = None  # (B,) which row of memory and cache each row has, where they are not one by one
    global_tokens: Array | None = None  # (B, G) where tokens stand that all see, and that see all; -1 for none
    packing: Any = None  # by which padding is left out of all but attention (`packing` of a backend); None leaves it in
    memory_packing: Any = None


def packed(packing: Any, x: Array) -> Array:
    """x (B, T, W) without its padding (1, N, W), where there is a packing."""
    return x if packing is None else packing.packed(x)


def padded(packing: Any, x: Array) -> Array:
    """x (1, N, W) with zeros for padding (B, T, W), where there is a packing."""
    return x if packing is None else packing.padded(x)
