"""BLEU (https://aclanthology.org/P02-1040) and chrF (https://aclanthology.org/W15-3049) of a corpus, by sacrebleu."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conjoin.evaluation.measures import Floats, Measure

__all__ = ["bleu_and_chrf"]


def bleu_and_chrf(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
    """Corpus BLEU (13a tokens, exponential smoothing) and chrF2 (6 characters, no words), from 0 to 100.

    Raises ImportError where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ModuleNotFoundError:
        raise ImportError(
            'BLEU needs sacrebleu, which is not installed; run: pip install "conjoin[evaluate]".'
        ) from None
    # force: no warning about text that looks tokenized, which ours may.
    return {
        "bleu": measure(BLEU(force=True), predictions, references),
        "chrf": measure(CHRF(), predictions, references),
    }


def measure(metric: Any, predictions: Sequence[str], references: Sequence[str]) -> Measure:
    """The metric's counts for each pair, and the score of their sums.

    sacrebleu resamples in Python, a thousand sums of lists; its counts are summed by NumPy here, which needs the two
    methods that all its metrics have for it. A test holds the result to `metric.corpus_score`.
    """

    def score(sums: Floats) -> Floats:
        return np.array([metric._compute_score_from_stats(list(row)).score for row in sums])

    counts = metric._extract_corpus_statistics(list(predictions), [list(references)])
    return Measure(np.array(counts, dtype=np.float64), score)
