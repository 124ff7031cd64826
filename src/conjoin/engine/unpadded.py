"""A padded batch without its padding: the tokens of all sequences one after another, so that products see nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from conjoin.blocks import Sight
from conjoin.engine.arrays import Array

__all__ = ["Real", "real_tokens"]

WORTH = 0.98  # share of tokens above which padding costs less than leaving it out


@dataclass(frozen=True)
class Real:
    """Which of (B, S) are tokens, and the rows (B + 1,) at which sequences begin when only tokens are kept."""

    seen: Array
    starts: Array

    def parts(self, most: int) -> Iterator[tuple[slice, "Real"]]:
        """Some sequences at a time, of at most so many tokens or one alone: which they are, and they alone."""
        first, batch = 0, len(self.seen)
        while first < batch:
            last = int(np.searchsorted(self.starts, self.starts[first] + most, "right")) - 1
            rows = slice(first, max(first + 1, last))
            yield rows, Real(self.seen[rows], self.starts[rows.start : rows.stop + 1] - self.starts[rows.start])
            first = rows.stop

    def sights(self, padded: Sequence[Sight]) -> list[Sight]:
        """What layers see, with rotary positions for each token that is kept; masks and biases stay by sequence."""
        tables = {id(table): table for sight in padded for table in sight.turn or ()}
        kept = {key: self.kept(table) for key, table in tables.items()}
        turns = (None if s.turn is None else (kept[id(s.turn[0])], kept[id(s.turn[1])]) for s in padded)
        return [sight._replace(turn=turn) for sight, turn in zip(padded, turns, strict=True)]

    def kept(self, table: Array) -> Array:
        """(1 or B, 1, S, P) -> (1, 1, N, P)."""
        whole = np.broadcast_to(table, (len(self.seen), *table.shape[1:]))
        return whole[:, 0][self.seen][None, None]


def real_tokens(shape: tuple[int, ...], mask: Array | None) -> Real | None:
    """The tokens of (B, S, ...) whose padding stands at the end of each sequence; None where there is hardly any, or no mask."""
    if mask is None or mask.shape[1:3] != (1, 1):
        return None
    seen = mask[:, 0, 0]
    if seen.shape != shape[:2]:
        return None
    lengths = seen.sum(1)
    if lengths.sum() > WORTH * seen.size or lengths.min() == 0:
        return None
    if not np.array_equal(seen, np.arange(seen.shape[1]) < lengths[:, None]):
        return None
    return Real(seen, np.concatenate([[0], lengths.cumsum()]).astype(np.int64))
