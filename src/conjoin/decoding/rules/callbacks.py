"""Rules that call the user's Python: which tokens may follow a prefix, and logits processors. PyTorch only."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from conjoin.decoding.rules.kinds import LOW, Rule
from conjoin.errors import InputError

__all__ = ["allowed_by_prefix", "user_processor"]

Array = Any


def allowed_by_prefix(ops: Any, allowed: Callable[[int, Array], Sequence[int]], beams: int) -> Rule:
    """Only tokens that `allowed(number, ids)` gives, at a score of 0 where no beam of a source can have one.

    The number is that of the source; of a sample with several sequences a source that of the row, as in transformers.
    GENRE (https://arxiv.org/abs/2010.00904) decodes so over a trie of names.
    """

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        flat = ops.copied(ops.merged(ids[..., :length]))
        rows = [tokens_of(allowed(i // beams, row), scores.shape[-1]) for i, row in enumerate(flat)]
        for i, tokens in enumerate(rows):
            if not tokens:
                raise InputError(
                    f"prefix_allowed_tokens_fn allows nothing after {flat[i].tolist()}, number {i // beams}; it must "
                    f"allow at least one token."
                )
        mask = ops.reshaped(ops.stacked([ops.one_of(tokens, scores) for tokens in rows]), scores.shape)
        possible = ops.where(mask, scores, LOW)
        best, _ = ops.top_k(possible, 1)
        stuck = best == LOW if beams == 1 else ops.all_of(best[..., 0] == LOW)[:, None, None]
        return ops.where(stuck & mask, 0.0, possible)

    return rule


def tokens_of(given: Any, vocab: int) -> list[int]:
    """The ids that a function allows. Raises InputError for what is no list of ids of the vocabulary."""
    try:
        tokens = [operator.index(one) for one in given]
    except TypeError:
        raise InputError(f"prefix_allowed_tokens_fn gave {given!r:.60}; a list of token ids was expected.") from None
    if tokens and not 0 <= min(tokens) <= max(tokens) < vocab:
        raise InputError(
            f"prefix_allowed_tokens_fn gave ids from {min(tokens)} to {max(tokens)}; 0 to {vocab - 1} was expected."
        )
    return tokens


def user_processor(ops: Any, process: Callable[[Array, Array], Array]) -> Rule:
    """A logits processor as transformers has them: (ids (B * K, length), scores (B * K, V)) -> scores."""

    def rule(ids: Array, length: Any, scores: Array) -> Array:
        given = ops.merged(scores)
        found = process(ops.copied(ops.merged(ids[..., :length])), given)
        if not ops.is_array(found) or found.shape != given.shape:
            came = tuple(found.shape) if ops.is_array(found) else type(found).__name__
            raise InputError(
                f"logits_processor: {process!r} returned {came}; scores of shape {tuple(given.shape)} were expected."
            )
        return ops.wide(ops.reshaped(found, scores.shape))

    return rule
