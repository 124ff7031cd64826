"""From scores to a summary: the best sentences that do not repeat each other."""

from collections.abc import Sequence

from conjoin.extraction.oracle import grams, words

__all__ = ["best_sentences"]


def best_sentences(sentences: Sequence[str], scores: Sequence[float], count: int, block: bool = True) -> list[int]:
    """The numbers of the `count` sentences of the highest scores, in the document's order.

    With `block` a sentence that has three words in a row in common with a better one is passed over (trigram blocking,
    section 3.2 of https://arxiv.org/abs/1908.08345). Sentences without a score are not chosen.
    """
    chosen: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for number in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        own = set(grams(words(sentences[number]), 3))
        if len(chosen) < count and not (block and own & seen):
            chosen.append(number)
            seen |= own
    return sorted(chosen)
