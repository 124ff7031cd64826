"""Bootstrap confidence intervals (Efron 1979; https://aclanthology.org/W04-3250) of measures."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conjoin.errors import DataError
from conjoin.evaluation.measures import Floats, Measure

__all__ = ["CELLS", "RESAMPLES", "TAILS", "Estimate", "estimates", "resampled", "resampled_sums"]

RESAMPLES = 1000
TAILS = (2.5, 97.5)  # percent
CELLS = 4_000_000  # how many counts are held at once: 32 MB


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% confidence interval."""

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


def resampled(measures: Mapping[str, Measure], *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Floats]:
    """The values (resamples,) of each measure of the same texts, all of them on the same resamples."""
    widths = np.cumsum([measure.counts.shape[1] for measure in measures.values()])
    everything = np.concatenate([measure.counts for measure in measures.values()], axis=1)
    parts = np.split(resampled_sums(everything, seed=seed, resamples=resamples), widths[:-1], axis=1)
    return {name: measures[name].score(sums) for name, sums in zip(measures, parts, strict=True)}


def estimates(measures: Mapping[str, Measure], *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """The value of each measure of the same texts, with its interval. Raises DataError for no texts."""
    found = {}
    for name, values in resampled(measures, seed=seed, resamples=resamples).items():
        low, high = np.percentile(values, TAILS)
        found[name] = Estimate(measures[name].value, float(low), float(high))
    return found
