"""Whether two systems differ on the same pairs: bootstrap intervals of differences, approximate randomisation.

The interval is of the paired bootstrap (https://aclanthology.org/W04-3250). The p-value is of approximate randomisation
(Noreen 1989; https://aclanthology.org/W05-0908): how often a difference as large comes about where each pair's two
texts are exchanged by the toss of a coin.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from conjoin.evaluation.intervals import CELLS, RESAMPLES, TAILS, resampled
from conjoin.evaluation.measures import Floats, Measure

__all__ = ["TRIALS", "Difference", "differences"]

TRIALS = 10_000


@dataclass(frozen=True)
class Difference:
    """By how much a second system is above a first, the 95% interval of that, and the two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def differences(
    first: Mapping[str, Measure],
    second: Mapping[str, Measure],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    trials: int = TRIALS,
) -> dict[str, Difference]:
    """The difference, second minus first, of each measure that both have of the same pairs."""
    drawn = [resampled(measures, seed=seed, resamples=resamples) for measures in (first, second)]
    found = {}
    for name in (name for name in first if name in second):
        before, after = first[name], second[name]
        low, high = np.percentile(drawn[1][name] - drawn[0][name], TAILS)
        p = p_value(before, after, seed=seed, trials=trials)
        found[name] = Difference(after.value - before.value, float(low), float(high), p)
    return found


def p_value(first: Measure, second: Measure, *, seed: int = 0, trials: int = TRIALS) -> float:
    """How often exchanging pairs at random makes a difference as large as the one seen, from 1 / (trials + 1) to 1."""
    apart = second.counts - first.counts
    seen = abs(second.value - first.value)
    if not apart.any():
        return 1.0
    differing = apart[apart.any(axis=1)]  # exchanging two equal texts changes nothing
    sums = [measure.counts.sum(axis=0) for measure in (first, second)]
    as_large = 0
    for moved in exchanged(differing, seed, trials):
        values = second.score(sums[1] - moved) - first.score(sums[0] + moved)
        as_large += int((np.abs(values) >= seen - 1e-9).sum())
    return (as_large + 1) / (trials + 1)


def exchanged(apart: Floats, seed: int, trials: int) -> Iterator[Floats]:
    """The sums (trials, k), in blocks, of rows of `apart` (n, k) that each take part or not by the toss of a coin."""
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS // len(apart))
    for start in range(0, trials, at_once):
        yield random.integers(0, 2, (min(at_once, trials - start), len(apart)), dtype=np.int8) @ apart
