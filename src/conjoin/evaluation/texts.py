"""What texts are like, whatever they should have been: repetition, novelty, length, copies of the first sentence.

Words are runs of letters and digits, lower-cased; a script without spaces between words is not cut into any.
"""

import re
from collections.abc import Sequence

import numpy as np

from conjoin.evaluation.measures import Measure, mean, ratio

__all__ = ["ORDERS", "lead", "text_measures", "words"]

ORDERS = (1, 2, 3, 4)  # of the n-grams
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text, lower-cased."""
    return WORD.findall(text.lower())


def lead(text: str) -> str:
    """The first sentence of a text: up to a full stop, exclamation or question mark that white space follows."""
    return SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def text_measures(
    texts: Sequence[str], references: Sequence[str], sources: Sequence[str] | None = None
) -> dict[str, Measure]:
    """Of texts: words ("length"), also over the references' ("length_ratio"); and in percent, for n from 1 to 4, the
    n-grams that are there for a second time within their text ("repeated1"...).

    With sources also the n-grams that the source has not ("novel1"..., See et al. 2017,
    https://aclanthology.org/P17-1099), and the texts that are the source's first sentence, word by word ("lead_copies").
    """
    own = [words(text) for text in texts]
    length = np.array([len(one) for one in own], np.float64)
    reference_length = np.array([len(words(one)) for one in references], np.float64)
    found = {"length": mean(length), "length_ratio": ratio(length, reference_length)}
    for n in ORDERS:
        grams = [ngrams(one, n) for one in own]
        total = np.array([len(one) for one in grams], np.float64)
        distinct = np.array([len(set(one)) for one in grams], np.float64)
        found[f"repeated{n}"] = ratio(total - distinct, total, 100)
    return found if sources is None else found | source_measures(own, sources)


def source_measures(own: Sequence[list[str]], sources: Sequence[str]) -> dict[str, Measure]:
    """What the words of texts are beside their sources."""
    found = {}
    theirs = [words(source) for source in sources]
    for n in ORDERS:
        novel, total = np.zeros(len(own)), np.zeros(len(own))
        for i, (one, source) in enumerate(zip(own, theirs, strict=True)):
            known, grams = set(ngrams(source, n)), ngrams(one, n)
            novel[i], total[i] = sum(gram not in known for gram in grams), len(grams)
        found[f"novel{n}"] = ratio(novel, total, 100)
    same = [one == words(lead(source)) for one, source in zip(own, sources, strict=True)]
    return found | {"lead_copies": mean(100 * np.array(same, np.float64))}


def ngrams(one: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n words, in order."""
    return list(zip(*(one[i:] for i in range(n)), strict=False))
