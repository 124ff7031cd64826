"""Rules on whole distributions: guidance, invalid values, a growing wish to end, normalisation."""

from typing import Any

import numpy as np

from conjoin.decoding.rules.kinds import Rule

__all__ = ["guidance", "length_decay", "remove_invalid", "renormalized"]

Array = Any
LARGEST = float(np.finfo(np.float32).max)


def guidance(ops: Any, scale: float, against: Array) -> Rule:
    """Classifier-free guidance: away from what the model would write of another source (https://arxiv.org/abs/2306.17806).

    `against` (B, K, V) are the logits of the same hypotheses under that source.
    """

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        other = ops.log_softmax(against)
        return scale * (ops.log_softmax(scores) - other) + other

    return rule


def remove_invalid(ops: Any) -> Rule:
    """No score that is not a number (0 then) or infinite (the largest or smallest of float32)."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        scores = ops.where(scores != scores, 0.0, scores)
        return ops.clipped(scores, -LARGEST, LARGEST)

    return rule


def length_decay(ops: Any, start: Any, factor: float, ends: tuple[int, ...], most: int) -> Rule:
    """After `start` tokens the end gains its score's absolute value times factor ** (tokens beyond) - 1."""
    with np.errstate(over="ignore"):
        growth = np.minimum(np.float64(factor) ** np.arange(most + 1) - 1, LARGEST)

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        gain = ops.absolute(scores) * ops.entry(growth, length - start)
        late = ops.one_of(ends, scores) & (length > start) & (ops.absolute(scores) < float("inf"))
        return ops.where(late, scores + gain, scores)

    return rule


def renormalized(ops: Any) -> Rule:
    """Log-probabilities again, whatever the rules before made of them."""
    return lambda ids, length, scores: ops.log_softmax(scores)
