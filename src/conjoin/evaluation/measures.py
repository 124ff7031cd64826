"""Measure: a score of a corpus as counts of each text that add up, which is all that resampling needs to know of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Measure", "mean", "ratio"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """`counts` (n, k) of n texts, and `score`, from sums of their rows (r, k) to values (r,)."""

    counts: Floats
    score: Callable[[Floats], Floats]

    @property
    def value(self) -> float:
        """The score of all texts."""
        return float(self.score(self.counts.sum(axis=0, keepdims=True))[0])


def ratio(above: Floats, below: Floats, factor: float = 1.0) -> Measure:
    """`factor` times the sum of `above` (n,) over the sum of `below` (n,); 0 where that is 0."""

    def score(sums: Floats) -> Floats:
        return factor * sums[:, 0] / np.where(sums[:, 1] == 0, np.inf, sums[:, 1])

    return Measure(np.stack((above, below), axis=1).astype(np.float64), score)


def mean(values: Floats) -> Measure:
    """The mean of `values` (n,)."""
    return ratio(values, np.ones(len(values)))
