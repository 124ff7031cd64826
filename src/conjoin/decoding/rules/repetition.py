"""Rules on what was made before, or stands in the source: penalties, and n-grams that may not come twice."""

from typing import Any

from conjoin.decoding.rules.kinds import Ban, Rule, banning, never

__all__ = ["encoder_no_repeat_ngram", "encoder_repetition_penalty", "no_repeat_ngram", "repetition_penalty"]

Array = Any


def repetition_penalty(ops: Any, penalty: float, padding: Array | None = None) -> Rule:
    """Tokens already made lose: negative scores times the penalty, others divided by it (https://arxiv.org/abs/1909.05858).

    `padding` (B,) is how many tokens before a prompt count for nothing.
    """

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        place = ops.arange(ids.shape[-1], ids)
        counts = place < length if padding is None else (place < length) & (place >= padding[:, None, None])
        made = ops.marked(ids, ops.broadcast(counts, ids.shape), scores.shape[-1])
        return ops.where(made, ops.where(scores < 0, scores * penalty, scores / penalty), scores)

    return rule


def encoder_repetition_penalty(ops: Any, penalty: float, source: Array) -> Rule:
    """Tokens of the source gain: the inverse of a repetition penalty."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        near = ops.marked(source[:, None], source[:, None] >= 0, scores.shape[-1])
        return ops.where(near, ops.where(scores < 0, scores / penalty, scores * penalty), scores)

    return rule


def no_repeat_ngram(ops: Any, size: int) -> Ban:
    """No `size` tokens in a row are made twice: the token that would complete a second time is forbidden."""

    def found(ids: Array, length: Any) -> tuple[Array, Array] | None:
        width = ids.shape[-1] - size + 1
        if width < 1:
            return None
        # follows[i]: the last size - 1 tokens equal those that stand before column i + size - 1, which is filled.
        follows = ops.broadcast(ops.arange(width, ids) + size - 1 < length, (*ids.shape[:-1], width))
        for back in range(1, size):
            last = ops.column(ids, length - back)
            follows = follows & (ids[..., size - 1 - back : size - 1 - back + width] == last)
        return None if never(ops, follows) else (ids[..., size - 1 :], follows & (length >= size))

    return banning(ops, found)


def encoder_no_repeat_ngram(ops: Any, size: int, source: Array) -> Ban:
    """No `size` tokens in a row of the source are made."""

    def found(ids: Array, length: Any) -> tuple[Array, Array] | None:
        width = source.shape[-1] - size + 1
        if width < 1:
            return None
        spread = source[:, None]
        follows = ops.broadcast(spread[..., size - 1 :] >= 0, (*ids.shape[:-1], width))
        for back in range(1, size):
            last = ops.column(ids, length - back)
            follows = follows & (spread[..., size - 1 - back : size - 1 - back + width] == last)
        if never(ops, follows):
            return None
        return ops.broadcast(spread[..., size - 1 :], follows.shape), follows & (length >= size - 1)

    return banning(ops, found)
