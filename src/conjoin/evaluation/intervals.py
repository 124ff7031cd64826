"""Bootstrap confidence intervals (Efron 1979; https://aclanthology.org/W04-3250) of means and corpus scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.errors import DataError

__all__ = ["Estimate", "corpus_estimate", "mean_estimates", "resampled_sums"]

Floats = NDArray[np.float64]
RESAMPLES = 1000
TAILS = (2.5, 97.5)  # percent
CELLS = 4_000_000  # how many counts are held at once: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A score from 0 to 100 and its 95% confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


def resampled_sums(values: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """The column sums (resamples, k) of `values` (n, k) when n rows are drawn again with replacement.

    The rows drawn depend on n and the seed alone, so that two systems scored on the same n pairs are resampled alike.
    Raises DataError for no rows.
    """
    n = len(values)
    if n == 0:
        raise DataError("there are no pairs to score; at least one was expected.")
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS // n)
    sums = []
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = random.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n)
        sums.append(counts @ values)
    return np.concatenate(sums)


def mean_estimates(values: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> list[Estimate]:
    """The mean of each column of `values` (n, k), with its interval. Raises DataError for no rows."""
    sums = resampled_sums(values, seed=seed, resamples=resamples)
    low, high = np.percentile(sums / len(values), TAILS, axis=0)
    return [Estimate(*map(float, one)) for one in zip(values.mean(axis=0), low, high, strict=True)]


def corpus_estimate(
    statistics: Floats, score: Callable[[list[Any]], float], *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """A score of summed statistics (n, k), such as BLEU's counts, with its interval. Raises DataError for no rows."""
    sums = resampled_sums(statistics, seed=seed, resamples=resamples)
    low, high = np.percentile([score(list(row)) for row in sums], TAILS)
    return Estimate(score(list(statistics.sum(axis=0))), float(low), float(high))
