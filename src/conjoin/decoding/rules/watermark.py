"""A watermark: each step favours a pseudo-random part of the vocabulary, which a detector can count afterwards.

Kirchenbauer et al. (https://arxiv.org/abs/2306.04634), with the hashing and the random numbers of transformers, so that its
detector finds the mark. The numbers are torch's: no other framework draws the same.
"""

from typing import Any

from conjoin.decoding.rules.kinds import Rule
from conjoin.generation import WatermarkingConfig

__all__ = ["watermark"]

Array = Any
TABLE = 1_000_003  # entries of the table that hashes tokens
CANDIDATES = 40  # of the best tokens, of which "selfhash" looks at each one's own list
SEEDS = 2**64 - 1


def watermark(ops: Any, config: WatermarkingConfig) -> Rule:
    """Adds the bias to the tokens of each row's green list, which hangs on the tokens before."""
    lists: dict[int, Array] = {}

    def green(seeds: Array, vocab: int) -> Array:
        """For seeds (N,), (N, V) True on each green list; a list is drawn once for each seed that is new."""
        numbers, places = ops.distinct(seeds)
        for number in numbers:
            if number not in lists:
                chosen = ops.permutation(number % SEEDS, vocab, seeds)[: int(vocab * config.greenlist_ratio)]
                lists[number] = ops.one_of(ops.id_lists(chosen), ops.zeros((vocab,), seeds))
        return ops.stacked([lists[number] for number in numbers])[places]

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        if length < config.context_width:
            return scores
        rows, vocab = ops.merged(ids[..., :length]), scores.shape[-1]
        if config.seeding_scheme == "lefthash":
            marked = green(config.hashing_key * rows[:, -1], vocab)
        else:
            marked = own_lists(rows, ops.merged(scores), vocab)
        return ops.where(ops.reshaped(marked, scores.shape), scores + config.bias, scores)

    def own_lists(rows: Array, scores: Array, vocab: int) -> Array:
        """(N, V) True at those of the best tokens that are on the list which they themselves would seed."""
        table = ops.permutation(config.hashing_key, TABLE, rows)
        _, best = ops.top_k(scores, min(CANDIDATES, vocab))
        before = rows[:, -(config.context_width - 1) :] if config.context_width > 1 else rows[:, :0]
        own = table[best % TABLE] + 1
        hashed = ops.concat(
            [ops.broadcast((table[before % TABLE] + 1)[:, None], (*best.shape, before.shape[1])), own[..., None]], 2
        )
        seeds = ops.least_last(config.hashing_key * hashed * own[..., None])
        on = ops.take_last(green(ops.reshaped(seeds, (-1,)), vocab), ops.reshaped(best, (-1, 1)))
        return ops.marked(best[:, None], ops.reshaped(on, best.shape)[:, None], vocab)[:, 0]

    return rule
