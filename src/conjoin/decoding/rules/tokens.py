"""Rules on single tokens and on sequences of them: forbidden, forced, liked more or less."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conjoin.decoding.rules.kinds import LOW, Ban, Rule, never

__all__ = ["forbidden", "forced", "sequence_bias"]

Array = Any


def forbidden(ops: Any, tokens: Sequence[int], when: Callable[[Any], Any]) -> Ban:
    """Some tokens cannot come while `when(length)` holds."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        now = when(length)
        return scores if never(ops, now) else ops.where(ops.one_of(tokens, scores) & now, LOW, scores)

    def found(ids: Array, length: Any) -> tuple[Array, Array] | None:
        now, shape = when(length), (*ids.shape[:2], len(tokens))
        if never(ops, now):
            return None
        return ops.broadcast(ops.constant_row(tokens, ids), shape), ops.broadcast(ops.true(ids[..., :1]) & now, shape)

    return Ban(rule, found)


def forced(ops: Any, tokens: Sequence[int], when: Callable[[Any], Any]) -> Rule:
    """Only some tokens can come while `when(length)` holds, at a score of 0."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        now = when(length)
        if never(ops, now):
            return scores
        only = ops.where(ops.one_of(tokens, scores), 0.0, LOW) + ops.zeros(scores.shape, scores)
        return ops.where(ops.true(scores) & now, only, scores)

    return rule


def sequence_bias(ops: Any, biases: Mapping[tuple[int, ...], float]) -> Rule:
    """Adds a bias to the token that would complete a sequence: of one token always, of several after the first of them."""
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for sequence in biases:
        by_length.setdefault(len(sequence), []).append(sequence)

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        bias = ops.zeros(scores.shape, scores)
        for size, group in by_length.items():
            values = ops.constant_row([biases[one] for one in group], scores)
            begun = ops.broadcast(ops.true(scores) & (length >= size - 1), (*scores.shape[:2], len(group)))
            for at in range(size - 1):
                tokens = ops.constant_row([one[at] for one in group], ids)
                begun = begun & (ops.column(ids, length - (size - 1) + at) == tokens)
            bias = ops.added_at(bias, [one[-1] for one in group], ops.where(begun, values, 0.0))
        return scores + bias

    return rule
