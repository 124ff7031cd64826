"""Rules: what changes the scores of the next token, on arrays alone, in transformers' order and arithmetic.

A rule is a function of (ids, length, scores): ids (B, K, L) of which the first `length` columns are filled, and scores
(B, K, V) of the next token. No rule loops over rows.
"""

from collections.abc import Callable, Sequence
from typing import Any

from conjoin.decoding.settings import Settings

__all__ = ["Rule", "processors", "warpers"]

Array = Any
Rule = Callable[[Array, Any, Array], Array]
LOW = float("-inf")


def repetition_penalty(ops: Any, penalty: float) -> Rule:
    """Tokens already made lose: negative scores times the penalty, others divided by it (https://arxiv.org/abs/1909.05858)."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        made = ops.marked(ids, ops.broadcast(ops.arange(ids.shape[-1], ids) < length, ids.shape), scores.shape[-1])
        return ops.where(made, ops.where(scores < 0, scores * penalty, scores / penalty), scores)

    return rule


def encoder_repetition_penalty(ops: Any, penalty: float, source: Array) -> Rule:
    """Tokens of the source gain: the inverse of a repetition penalty."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        near = ops.marked(source[:, None], source[:, None] >= 0, scores.shape[-1])
        return ops.where(near, ops.where(scores < 0, scores / penalty, scores * penalty), scores)

    return rule


def no_repeat_ngram(ops: Any, size: int) -> Rule:
    """No `size` tokens in a row are made twice: the token that would complete a second time is forbidden."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        width = ids.shape[-1] - size + 1
        if width < 1:
            return scores
        # follows[i]: the last size - 1 tokens equal those that stand before column i + size - 1, which is filled.
        follows = ops.broadcast(ops.arange(width, ids) + size - 1 < length, (*ids.shape[:-1], width))
        for back in range(1, size):
            last = ops.column(ids, length - back)
            follows = follows & (ids[..., size - 1 - back : size - 1 - back + width] == last)
        banned = ops.marked(ids[..., size - 1 :], follows, scores.shape[-1])
        return ops.where(banned & (length >= size), LOW, scores)

    return rule


def encoder_no_repeat_ngram(ops: Any, size: int, source: Array) -> Rule:
    """No `size` tokens in a row of the source are made."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        width = source.shape[-1] - size + 1
        if width < 1:
            return scores
        spread = source[:, None]
        follows = ops.broadcast(spread[..., size - 1 :] >= 0, (*ids.shape[:-1], width))
        for back in range(1, size):
            last = ops.column(ids, length - back)
            follows = follows & (spread[..., size - 1 - back : size - 1 - back + width] == last)
        banned = ops.marked(ops.broadcast(spread[..., size - 1 :], follows.shape), follows, scores.shape[-1])
        return ops.where(banned & (length >= size - 1), LOW, scores)

    return rule


def forbidden(ops: Any, tokens: Sequence[int], when: Callable[[Any], Any]) -> Rule:
    """Some tokens cannot come while `when(length)` holds."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        return ops.where(ops.one_of(tokens, scores) & when(length), LOW, scores)

    return rule


def forced(ops: Any, tokens: Sequence[int], when: Callable[[Any], Any]) -> Rule:
    """Only some tokens can come while `when(length)` holds, at a score of 0."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        only = ops.where(ops.one_of(tokens, scores), 0.0, LOW) + ops.zeros(scores.shape, scores)
        return ops.where(ops.true(scores) & when(length), only, scores)

    return rule


def processors(ops: Any, settings: Settings, source: Array | None) -> list[Rule]:
    """The rules that hold in every mode, in transformers' order. `source` (B, S), or None where it has no ids."""
    rules: list[Rule] = []
    if settings.encoder_repetition_penalty != 1.0 and source is not None:
        rules.append(encoder_repetition_penalty(ops, settings.encoder_repetition_penalty, source))
    if settings.repetition_penalty != 1.0:
        rules.append(repetition_penalty(ops, settings.repetition_penalty))
    if settings.no_repeat_ngram_size > 0:
        rules.append(no_repeat_ngram(ops, settings.no_repeat_ngram_size))
    if settings.encoder_no_repeat_ngram_size > 0 and source is not None:
        rules.append(encoder_no_repeat_ngram(ops, settings.encoder_no_repeat_ngram_size, source))
    if settings.has_min_length and settings.eos:
        rules.append(forbidden(ops, settings.eos, lambda length: length < settings.min_length))
    if settings.forced_bos is not None:
        rules.append(forced(ops, (settings.forced_bos,), lambda length: length == 1))
    if settings.forced_eos:
        rules.append(forced(ops, settings.forced_eos, lambda length: length == settings.max_length - 1))
    if settings.suppress_tokens:
        rules.append(forbidden(ops, settings.suppress_tokens, lambda length: length > 0))
    if settings.begin_suppress_tokens:
        rules.append(forbidden(ops, settings.begin_suppress_tokens, lambda length: length == settings.begin))
    return rules


def temperature(ops: Any, value: float) -> Rule:
    """Scores divided by the temperature."""
    return lambda ids, length, scores: scores / value


def top_k(ops: Any, k: int) -> Rule:
    """Only the k best tokens, and what ties with the last of them."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        best, _ = ops.top_k(scores, min(k, scores.shape[-1]))
        return ops.where(scores < best[..., -1:], LOW, scores)

    return rule


def top_p(ops: Any, p: float, keep: int) -> Rule:
    """The fewest tokens whose probabilities add up to p (https://arxiv.org/abs/1904.09751), and at least `keep`."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        ordered, back = ops.sort(scores)
        gone = ops.cumsum(ops.softmax(ordered)) <= 1 - p
        gone = gone & (ops.arange(scores.shape[-1], scores) < scores.shape[-1] - keep)
        return ops.where(ops.take_last(gone, back), LOW, scores)

    return rule


def min_p(ops: Any, p: float, keep: int) -> Rule:
    """Tokens at least p times as likely as the best one (https://arxiv.org/abs/2407.01082), and at least `keep`."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        chance = ops.softmax(scores)
        best, _ = ops.top_k(chance, min(keep, scores.shape[-1]))
        return ops.where((chance < p * best[..., :1]) & (chance < best[..., -1:]), LOW, scores)

    return rule


def warpers(ops: Any, settings: Settings) -> list[Rule]:
    """The rules that shape a distribution before a token is drawn, in transformers' order."""
    keep = len(settings.eos) + 1 if settings.num_beams > 1 else 1
    rules: list[Rule] = []
    if settings.temperature != 1.0:
        rules.append(temperature(ops, settings.temperature))
    if settings.top_k:
        rules.append(top_k(ops, max(settings.top_k, keep)))
    if settings.top_p < 1.0:
        rules.append(top_p(ops, settings.top_p, keep))
    if settings.min_p is not None:
        rules.append(min_p(ops, settings.min_p, keep))
    return rules
