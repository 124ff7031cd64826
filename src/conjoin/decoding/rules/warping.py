"""Rules that shape a distribution before a token is drawn from it."""

from typing import Any

from conjoin.decoding.rules.kinds import LOW, Rule

__all__ = ["epsilon_cutoff", "eta_cutoff", "min_p", "temperature", "top_h", "top_k", "top_p", "typical_p"]

Array = Any
BEST = 100  # tokens that top_h looks at, as in its paper's code


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


def top_h(ops: Any, share: float) -> Rule:
    """The best tokens whose entropy together is at most `share` of that of the best hundred, and the best one.

    Top-H decoding (https://arxiv.org/abs/2509.02510).
    """

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        # Tokens, not scores, are kept: of two that tie, as forced ones do, one may be one too many.
        best, token = ops.top_k(scores, min(BEST, scores.shape[-1]))
        parts = entropy_parts(ops, best)
        below = (ops.cumsum(parts) <= share * ops.summed(parts)) & (ops.softmax(best) > 0)
        kept = below | (ops.arange(best.shape[-1], token) == 0)
        return ops.where(ops.marked(token, kept, scores.shape[-1]), scores, LOW)

    return rule


def typical_p(ops: Any, mass: float, keep: int) -> Rule:
    """The tokens whose surprise is nearest to the entropy, up to a mass of `mass` (https://arxiv.org/abs/2202.00666)."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        entropy = ops.summed(entropy_parts(ops, scores))
        away = ops.absolute(-ops.log_softmax(scores) - entropy)
        order = ops.rising(away)
        away, vocab = ops.take_last(away, order), scores.shape[-1]
        below = ops.summed(ops.number(ops.cumsum(ops.softmax(ops.take_last(scores, order))) < mass))
        last = ops.clipped(ops.whole(below), 0, vocab - 1)
        gone = (away > ops.take_last(away, last)) & (ops.arange(vocab, scores) >= keep)
        return ops.where(ops.take_last(gone, ops.rising(order)), LOW, scores)

    return rule


def epsilon_cutoff(ops: Any, epsilon: float, keep: int) -> Rule:
    """Tokens at least as likely as epsilon, and at least `keep` (https://arxiv.org/abs/2210.15191)."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        return ops.where((ops.softmax(scores) < epsilon) & ~among_best(ops, scores, keep), LOW, scores)

    return rule


def eta_cutoff(ops: Any, epsilon: float, keep: int) -> Rule:
    """The same, with less than epsilon where the distribution is flat: sqrt(epsilon) * exp(-entropy)."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        eta = epsilon**0.5 * ops.exp(-ops.summed(entropy_parts(ops, scores)))
        least = ops.where(eta < epsilon, eta, epsilon)
        return ops.where((ops.softmax(scores) < least) & ~among_best(ops, scores, keep), LOW, scores)

    return rule


def entropy_parts(ops: Any, scores: Array) -> Array:
    """What each token adds to the entropy of softmax(scores); nothing where it cannot come."""
    chance = ops.softmax(scores)
    return ops.where(chance > 0, -chance * ops.log_softmax(scores), 0.0)


def among_best(ops: Any, scores: Array, keep: int) -> Array:
    """Whether each token is among the `keep` best, or ties with the last of them."""
    best, _ = ops.top_k(scores, min(keep, scores.shape[-1]))
    return scores >= best[..., -1:]
