"""The merges of a SentencePiece vocabulary, which has a score for each token instead of them."""

from collections.abc import Mapping

__all__ = ["merges_of"]


def merges_of(vocabulary: Mapping[str, int], scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Every pair of tokens that makes a third, best first, as SentencePiece's BPE merges the pair of the best score.

    `scores` has the tokens that may come of a merge, a higher one being better. Of one score, the pair whose left part,
    then whose right part, is longer comes first; then that of the lower id.
    """
    found = [
        (-score, -cut, cut - len(token), vocabulary[token], vocabulary[token[:cut]], token, cut)
        for token, score in scores.items()
        for cut in range(1, len(token))
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    return [(token[:cut], token[cut:]) for *_, token, cut in sorted(found)]
