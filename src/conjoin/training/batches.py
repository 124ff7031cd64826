"""Which examples make which batch: of like lengths, shuffled by seed and epoch alone, as many for each process."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conjoin.inputs import bucket
from conjoin.seq2seq import IGNORED
from conjoin.training.tokenise import Examples, Ids

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batches", "Rows", "Share", "arrays_of", "collate", "share_of"]

Rows = NDArray[np.int64]  # numbers of examples
Share = list[Rows | None]  # one process's batches of a step; None where it has none, and only keeps the others company
BATCHES_A_CHUNK = 20  # sorted together: enough for little padding, few enough that batches differ between epochs


@dataclass(frozen=True)
class Batches:
    """The batches of every epoch. `epoch(n)` depends on the fields and n only, so that a resumed run skips exactly.

    `batch_size` is in examples. Where `batch_tokens` is given it takes the place of `batch_size`: as many examples as
    have at most so many source and target tokens together, padding included. `batches_a_step` is over all processes.
    """

    source_lengths: NDArray[np.int64]
    label_lengths: NDArray[np.int64]
    batch_size: int
    batch_tokens: int | None
    batches_a_step: int
    seed: int

    def epoch(self, number: int) -> list[list[Rows]]:
        """The optimiser steps of an epoch, each a list of batches; every example is in one batch."""
        random = np.random.default_rng([self.seed, number])
        order = random.permutation(len(self.source_lengths))
        chunk = self.usual_size() * BATCHES_A_CHUNK
        batches: list[Rows] = []
        for at in range(0, len(order), chunk):
            batches += self.cut(self.by_length(order[at : at + chunk]))
        mixed = [batches[i] for i in random.permutation(len(batches))]
        size = self.batches_a_step
        return [mixed[at : at + size] for at in range(0, len(mixed), size)]

    def usual_size(self) -> int:
        """How many examples are in a batch, or about so many where tokens are counted."""
        if self.batch_tokens is None:
            return self.batch_size
        return max(1, int(self.batch_tokens / (self.source_lengths.mean() + self.label_lengths.mean())))

    def in_order(self) -> list[Rows]:
        """Every example once, by length and without a seed: for evaluation."""
        return self.cut(self.by_length(np.arange(len(self.source_lengths))))

    def by_length(self, rows: Rows) -> Rows:
        """Rows sorted by source length, and by target length where sources are alike."""
        return rows[np.lexsort((self.label_lengths[rows], self.source_lengths[rows]))]

    def cut(self, rows: Rows) -> list[Rows]:
        """Sorted rows as batches."""
        if self.batch_tokens is None:
            return [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]
        batches: list[Rows] = []
        first, longest = 0, 0
        for at, row in enumerate(rows):
            longest = max(longest, int(self.label_lengths[row]))
            tokens = (at + 1 - first) * (int(self.source_lengths[row]) + longest)  # sorted: this source is the longest
            if at > first and tokens > self.batch_tokens:
                batches.append(rows[first:at])
                first, longest = at, int(self.label_lengths[row])
        return [*batches, rows[first:]]


def share_of(step: list[Rows], process: int, processes: int) -> Share:
    """One process's batches of a step: as many as every other's, so that none waits for another for ever."""
    rounds = -(-len(step) // processes)
    mine: Share = [*step[process::processes]]
    return mine + [None] * (rounds - len(mine))


def collate(examples: Examples, rows: Rows | None, pad: int) -> dict[str, "Tensor"]:
    """input_ids, attention_mask (B, S) and labels (B, T) of some examples, -100 where a label is padding.

    Without rows it is a batch of one example that counts for no loss.
    """
    import torch

    arrays = arrays_of(examples, np.asarray([0]) if rows is None else rows, pad)
    if rows is None:
        arrays["labels"][:] = IGNORED
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def arrays_of(examples: Examples, rows: Rows, pad: int, *, few_shapes: bool = False) -> dict[str, NDArray[np.int64]]:
    """The same as NumPy arrays; with `few_shapes` padded on to one of few lengths, for what compiles for each."""
    sources, labels = [examples.sources[i] for i in rows], [examples.labels[i] for i in rows]
    lengths = [max(len(x) for x in side) for side in (sources, labels)]
    if few_shapes:
        lengths = [bucket(lengths[0], limit=examples.limits.source), bucket(lengths[1], limit=examples.limits.target)]
    return {
        "input_ids": padded(sources, pad, lengths[0]),
        "attention_mask": padded([np.ones_like(x) for x in sources], 0, lengths[0]),
        "labels": padded(labels, IGNORED, lengths[1]),
    }


def padded(rows: list[Ids], fill: int, length: int) -> NDArray[np.int64]:
    """Rows of different lengths as one array."""
    out = np.full((len(rows), length), fill, np.int64)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return out
