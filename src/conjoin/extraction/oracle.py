"""Which sentences of a document make its summary best: the labels that an extractor learns, and its upper bound.

Greedy, as in section 3.2 of https://arxiv.org/abs/1908.08345: the sentence is added that raises the sum of the F-measures of
ROUGE-1 and ROUGE-2 most, until none does. Words are runs of letters and digits of any script, and single characters of
scripts that write no spaces; they are not stemmed.
"""

import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["MOST", "oracle", "words"]

MOST = 3  # sentences, as in the paper
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Lao, Burmese, Khmer, CJK
)
WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return WORD.findall(text.lower())


def grams(tokens: Sequence[str], n: int) -> Grams:
    """How often each run of n words comes."""
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def f_measure(found: Grams, wanted: Grams) -> float:
    """ROUGE-N's F-measure of n-grams, 0 to 1."""
    common = (found & wanted).total()
    return 2 * common / (found.total() + wanted.total()) if common else 0.0


def oracle(sentences: Sequence[str], summary: str, most: int = MOST) -> list[int]:
    """The numbers of at most `most` sentences, in the document's order; none where no sentence has a word of the summary."""
    tokens, wanted = [words(one) for one in sentences], words(summary)
    aims = [grams(wanted, n) for n in (1, 2)]

    def worth(numbers: list[int]) -> float:
        chosen = [word for number in numbers for word in tokens[number]]
        return sum(f_measure(grams(chosen, n), aim) for n, aim in enumerate(aims, 1))

    best: list[int] = []
    value = 0.0
    while len(best) < most:
        tried = [(worth(sorted([*best, i])), -i) for i in range(len(sentences)) if i not in best]
        found, number = max(tried, default=(0.0, 0))
        if found <= value:
            break
        value, best = found, sorted([*best, -number])
    return best
