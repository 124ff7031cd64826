"""Greedy search and sampling: one token more for each hypothesis, the best or one drawn at random."""

from dataclasses import dataclass, replace
from typing import Any

from conjoin.decoding.search.steps import Result, Rules, apply, forbidden_alone
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["Grown", "first_grown", "grow", "grown"]

Array = Any


@dataclass
class Grown:
    """For each hypothesis, whether it has ended."""

    ended: Array  # (B, K)


def first_grown(ops: Any, settings: Settings, state: State) -> State:
    """The state before the first token of a greedy search or a sample."""
    return replace(state, search=Grown(ops.false(state.ids[..., 0]) | state.done[:, None]))


def grow(ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State) -> State:
    """One token more for each hypothesis: the best, or one drawn at random."""
    if settings.do_sample:
        scores = apply(warps, state, apply(rules, state, ops.wide(state.logits)))
        # The token with the largest p / q, q exponential, is one drawn with probability p.
        token = ops.argmax(ops.softmax(scores) / noise(state.row, state.length, scores))
    else:
        token = likeliest(ops, rules, state)
    token = ops.where(state.search.ended, settings.pad, token)
    ids = ops.set_column(state.ids, state.length, token)
    ended = state.search.ended | ends(ops, settings, state, ids, token)
    finished = ops.all_of(ended | (state.length + 1 >= settings.max_length))
    return replace(state, ids=ids, length=state.length + 1, search=Grown(ended), done=finished)


def likeliest(ops: Any, rules: Rules, state: State) -> Array:
    """The best token (B, K) of each hypothesis. Where rules do nothing but forbid, scores are not written anew for them."""
    forbidden = forbidden_alone(ops, rules, state, 1)
    if forbidden is None:
        return ops.argmax(apply(rules, state, ops.wide(state.logits)))
    return ops.argmax_without(state.logits, forbidden)


def grown(ops: Any, settings: Settings, state: State) -> Result:
    """The sequences (B, K, L); without beams they have no scores."""
    return {"ids": state.ids}, state.length
