"""ROUGE-1, ROUGE-2 and ROUGE-L (https://aclanthology.org/W04-1013) by rouge-score: F-measures, stemmed."""

from collections.abc import Sequence

import numpy as np

from conjoin.evaluation.measures import Measure, mean

__all__ = ["ROUGE", "rouge_scores"]

ROUGE = ("rouge1", "rouge2", "rougeL")


def rouge_scores(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
    """ROUGE-1, -2 and -L, means over the pairs, from 0 to 100.

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
    found = [scorer.score(reference, text) for text, reference in zip(predictions, references, strict=True)]
    return {name: mean(np.array([100 * one[name].fmeasure for one in found])) for name in ROUGE}
