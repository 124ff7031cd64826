"""BLEU (https://aclanthology.org/P02-1040) and chrF (https://aclanthology.org/W15-3049) of a corpus, by sacrebleu."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conjoin.evaluation.intervals import RESAMPLES, Estimate, corpus_estimate

__all__ = ["bleu_and_chrf"]


def bleu_and_chrf(
    predictions: Sequence[str], references: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[Estimate, Estimate]:
    """Corpus BLEU (13a tokens, exponential smoothing) and chrF2 (6 characters, no words), from 0 to 100.

    Raises ImportError where sacrebleu is not installed, DataError for no pairs.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ModuleNotFoundError:
        raise ImportError(
            'BLEU needs sacrebleu, which is not installed; run: pip install "conjoin[evaluate]".'
        ) from None
    estimates = []
    for metric in (BLEU(force=True), CHRF()):  # force: no warning about text that looks tokenized, which ours may
        counts, score = statistics(metric, predictions, references)
        estimates.append(corpus_estimate(counts, score, seed=seed, resamples=resamples))
    return estimates[0], estimates[1]


def statistics(
    metric: Any, predictions: Sequence[str], references: Sequence[str]
) -> tuple[NDArray[np.float64], Callable[[list[Any]], float]]:
    """The metric's counts for each pair (n, k), and the score of their sum.

    sacrebleu resamples in Python, a thousand sums of lists; its counts are summed by NumPy here, which needs the two
    methods that all its metrics have for it. A test holds the result to `metric.corpus_score`.
    """
    if not predictions:
        return np.empty((0, 1)), lambda _: 0.0
    counts = metric._extract_corpus_statistics(list(predictions), [list(references)])
    return np.array(counts, dtype=np.float64), lambda total: float(metric._compute_score_from_stats(total).score)
