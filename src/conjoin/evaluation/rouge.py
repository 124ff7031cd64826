"""ROUGE-1, ROUGE-2 and ROUGE-L (https://aclanthology.org/W04-1013) by rouge-score: F-measures, stemmed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUGE", "rouge_scores"]

ROUGE = ("rouge1", "rouge2", "rougeL")


def rouge_scores(predictions: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """ROUGE-1, -2 and -L of each pair, (n, 3), from 0 to 100.

    Words are lower-cased, stripped of what is not a-z or 0-9, and stemmed (Porter), so scores of other scripts mean
    nothing. Raises ImportError where rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError:
        raise ImportError(
            'ROUGE needs rouge-score, which is not installed; run: pip install "conjoin[evaluate]".'
        ) from None
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    scores = np.empty((len(predictions), len(ROUGE)))
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        found = scorer.score(reference, prediction)
        scores[i] = [100 * found[name].fmeasure for name in ROUGE]
    return scores
