"""A decoder's step over buffers of one shape: what differs from step to step is written into them, and nothing else.

B rows, K tokens side by side of each, slots of the cache, S tokens of the source, each at most what the buffers hold; what is
beyond is hidden by masks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from conjoin.blocks import Cache
from conjoin.static.runners import Step

__all__ = ["Program", "Shape"]


@dataclass(frozen=True)
class Shape:
    """What buffers hold."""

    rows: int
    count: int  # tokens side by side of each
    slots: int
    source: int
    dtype: torch.dtype


def stepped(
    decoder: Any,
    ids: Tensor,
    start: Tensor,
    order: Tensor | None,
    mask: Tensor,
    memory: list[Cache],
    memory_mask: Tensor,
    cache: list[Cache],
    at: Tensor,
) -> tuple[Tensor, Tensor]:
    """ids (B, K) at position `start` -> hidden states (B, K, W) and logits (B, K, V); the cache is written from slot `at` on."""
    place = decoder.abreast(ids, start, order)
    x, _ = decoder.step(ids, place, mask, memory, memory_mask, cache, at)
    return x, decoder.logits(x)


class Program:
    """One step over buffers of its own, for one call at a time.

    `run` is what runs the step (runners.py), `wrap` what is made of it first (torch.compile). The decoder is not kept alive.
    """

    def __init__(
        self, decoder: Any, shape: Shape, memory: list[Cache], run: Callable[[Step, torch.device], Step], wrap: Any
    ) -> None:
        self.decoder, self.shape, self.run, self.stepped = ref(decoder), shape, run, wrap(stepped)
        like = memory[0][0]
        rows, count, slots, source = shape.rows, shape.count, shape.slots, shape.source

        def flags(*sizes: int) -> Tensor:
            return torch.zeros(sizes, dtype=torch.bool, device=like.device)

        def numbers(*sizes: int) -> Tensor:
            return torch.zeros(sizes, dtype=torch.int64, device=like.device)

        def sources(x: Tensor) -> Tensor:
            return x.new_zeros(rows, x.shape[1], source, x.shape[3])

        self.ids, self.start, self.at = numbers(rows, count), numbers(), numbers()
        self.order = numbers(1, slots) if decoder.spec.ordered else None
        self.mask, self.memory_mask = flags(rows, 1, count, slots), flags(rows, 1, 1, source)
        self.cache = decoder.empty_cache(rows, slots, like)
        self.memory = [(sources(k), sources(v)) for k, v in memory]

    def load(self, cache: list[Cache], at: int, memory: list[Cache], memory_mask: Tensor | None) -> list[Cache]:
        """Takes over a past of `at` slots and what was read: the cache as far as these rows go, which steps write in place."""
        rows, source = len(cache[0][0]), memory[0][0].shape[2]
        self.mask.fill_(False)
        self.memory_mask.fill_(True)
        self.memory_mask[:rows, ..., source:].fill_(False)
        if memory_mask is not None:
            self.memory_mask[:rows, ..., :source].copy_(memory_mask)
        for mine, given in zip(self.cache, cache, strict=True):
            for buffer, x in zip(mine, given, strict=True):
                buffer[:rows, :, :at].copy_(x[:, :, :at])
        for mine, given in zip(self.memory, memory, strict=True):
            for buffer, x in zip(mine, given, strict=True):
                buffer[:rows, :, :source].copy_(x)
        return [(keys[:rows], values[:rows]) for keys, values in self.cache]

    def __call__(
        self, ids: Tensor, start: int, order: Tensor | None, mask: Tensor | None, at: int
    ) -> tuple[Tensor, Tensor]:
        """A step of ids (B, K) after what was loaded: hidden states (B, K, W) and logits (B, K, V).

        `mask` (B, 1, K, slots in sight) and `order` (1, slots in sight) are as `Decoder.step` has them.
        """
        rows, seen = len(ids), at + ids.shape[1]
        self.ids[:rows].copy_(ids)
        self.start.fill_(start)
        self.at.fill_(at)
        if mask is None:
            self.mask[:rows, ..., :seen].fill_(True)
        else:
            self.mask[:rows, ..., :seen].copy_(mask)
        if self.order is not None and order is not None:
            self.order[:, :seen].copy_(order)
        hidden, logits = self.runner()
        # Copies, since the next step writes into the same memory.
        return hidden[:rows].clone(), logits[:rows].clone()

    @cached_property
    def runner(self) -> Step:
        """Made for the first step, whose inputs are there: what a recording tries out is that step, over and over."""
        return self.run(self.step, self.ids.device)

    def step(self) -> tuple[Tensor, Tensor]:
        """The step over the buffers."""
        given = (self.ids, self.start, self.order, self.mask, self.memory, self.memory_mask, self.cache, self.at)
        found: tuple[Tensor, Tensor] = self.stepped(self.decoder(), *given)
        return found
