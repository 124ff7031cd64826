"""ROUGE-1, ROUGE-2 and ROUGE-L (https://aclanthology.org/W04-1013) by rouge-score's words: F-measures, stemmed."""

from collections.abc import Sequence
from types import SimpleNamespace

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
        from rouge_score.tokenizers import DefaultTokenizer
    except ModuleNotFoundError:
        raise ImportError(
            'ROUGE needs rouge-score, which is not installed; run: pip install "conjoin[evaluate]".'
        ) from None
    words = DefaultTokenizer(use_stemmer=True).tokenize
    scorer = RougeScorer(
        ["rouge1", "rouge2"], tokenizer=SimpleNamespace(tokenize=str.split)
    )  # stemming takes the time: once
    found: list[tuple[float, ...]] = []
    for pair in zip(predictions, references, strict=True):
        text, reference = map(words, pair)
        grams = scorer.score(" ".join(reference), " ".join(text))
        found.append((grams["rouge1"].fmeasure, grams["rouge2"].fmeasure, f_measure(text, reference)))
    return {name: mean(100 * column) for name, column in zip(ROUGE, np.array(found).reshape(-1, 3).T, strict=True)}


def f_measure(words: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L's: of the share of either text that their longest common subsequence is."""
    from rouge_score.scoring import fmeasure

    common = common_length(words, reference)
    return float(fmeasure(common / len(words), common / len(reference))) if common else 0.0


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """How long the longest common subsequence is.

    By Hyyro's bits (2004), a row of the table in one whole number: rouge-score's own table is one of Python's numbers, and
    has filled 20 GB for a text of 100,000 words.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << at
    whole = rising = (1 << len(first)) - 1
    for found in (places[word] for word in second if word in places):
        met = rising & found
        rising = ((rising + met) | (rising - met)) & whole
    return len(first) - rising.bit_count()
