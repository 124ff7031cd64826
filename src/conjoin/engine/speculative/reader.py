"""A decoder and what it has read of some rows: each row sees its own slots of one cache, so that none is ever moved."""

from typing import Any

import torch
from torch import Tensor

from conjoin.decoding.state import State

__all__ = ["Reader"]


class Reader:
    """Reads tokens after a prompt. What was read since `begin` can be taken back in part, row by row.

    `at` is the slot that is written next, the same for all rows: slots of tokens that were taken back are written again
    where no row kept them, and are never seen where one did.
    """

    def __init__(self, decoder: Any, state: State) -> None:
        """From a state in which the prompt was read."""
        self.decoder, self.cache = decoder, state.cache
        self.memory, self.memory_mask = state.memory, state.memory_mask
        self.at, slots = state.at, state.cache[0][0].shape[2]
        rows, device = len(state.ids), state.ids.device
        self.base = self.at
        self.places = torch.arange(slots, device=device).expand(rows, slots).clone()  # where each slot's token stands
        if state.lineage is None:
            self.seen = self.places < self.at
        else:
            self.seen = state.lineage[:, 0].clone()

    def begin(self) -> None:
        """From here on tokens may be taken back."""
        self.base = self.at

    def read(self, tokens: Tensor, start: Tensor) -> Tensor:
        """Logits (B, T, V) after each of tokens (B, T), the first of which stand at `start` (B,)."""
        count = tokens.shape[1]
        self.grow(self.at + count)
        here = slice(self.at, self.at + count)
        each = torch.arange(count, device=tokens.device)
        # What only fills a row up may stand nowhere.
        self.places[:, here] = (start[:, None] + each).clamp(max=self.decoder.spec.max_length - 1)
        past = self.seen[:, None, : self.at].expand(-1, count, -1)
        mask = torch.cat([past, (each <= each[:, None]).expand(len(tokens), -1, -1)], -1)[:, None]
        order = self.places[:, : here.stop] if self.decoder.spec.ordered else None
        place = self.decoder.abreast(tokens, self.places[:, here, None], order)
        hidden, self.cache = self.decoder.step(tokens, place, mask, self.memory, self.memory_mask, self.cache, self.at)
        self.seen[:, here] = True
        self.at = here.stop
        logits: Tensor = self.decoder.logits(hidden)
        return logits

    def keep(self, counts: Tensor) -> None:
        """Keeps so many (B,) of the tokens that each row has read since `begin`."""
        each = torch.arange(self.at - self.base, device=counts.device)
        self.seen[:, self.base : self.at] = each < counts[:, None]
        self.at = self.base + int(counts.max())

    def grow(self, slots: int) -> None:
        """Room for so many slots: twice as many where there are too few."""
        missing = slots - self.seen.shape[1]
        if missing <= 0:
            return
        rows, more = len(self.seen), max(missing, self.seen.shape[1])
        blank = self.decoder.empty_cache(rows, more, self.cache[0][0])
        self.cache = [
            (torch.cat([k, k2], 2), torch.cat([v, v2], 2)) for (k, v), (k2, v2) in zip(self.cache, blank, strict=True)
        ]
        self.seen = torch.cat([self.seen, self.seen.new_zeros(rows, more)], 1)
        self.places = torch.cat([self.places, self.places.new_zeros(rows, more)], 1)

    def select(self, index: Tensor) -> None:
        """Only some rows from here on."""
        self.cache = [(k[index], v[index]) for k, v in self.cache]
        self.memory = [(k[index], v[index]) for k, v in self.memory]
        self.memory_mask = None if self.memory_mask is None else self.memory_mask[index]
        self.seen, self.places = self.seen[index], self.places[index]
