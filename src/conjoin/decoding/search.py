"""Searches: which tokens come next. Each is a pure function from a state with logits to the state one token longer.

Sampling and greedy search keep `Grown`, beam search `Beams`. Arithmetic, stopping and ties are transformers'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from conjoin.decoding.rules import Rule
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["Beams", "Grown", "beam", "first_beams", "first_grown", "grow"]

Array = Any
LOW = -1.0e9


@dataclass
class Grown:
    """For each hypothesis, whether it has ended."""

    ended: Array  # (B, K)


@dataclass
class Beams:
    """The running beams' scores, and the best that have ended."""

    scores: Array  # (B, K) sums of log-probabilities
    ended_ids: Array  # (B, K, L)
    ended_scores: Array  # (B, K), best first
    ended: Array  # (B, K)
    ended_length: Array  # (B, K)
    hope: Array  # (B, 1) whether a running beam can still beat the worst that ended
    path: Array | None = None  # (B, K, L) from which row of B * K each token came, by steps; -1 after them
    ended_path: Array | None = None


def apply(rules: Sequence[Rule], state: State, scores: Array) -> Array:
    """The scores after all rules."""
    for rule in rules:
        scores = rule(state.ids, state.length, scores)
    return scores


def first_grown(ops: Any, state: State) -> State:
    """The state before the first token of a greedy search or a sample."""
    return replace(state, search=Grown(ops.false(state.ids[..., 0]) | state.done[:, None]))


def grow(ops: Any, settings: Settings, rules: Sequence[Rule], warps: Sequence[Rule], noise: Any, state: State) -> State:
    """One token more for each hypothesis: the best, or one drawn at random."""
    scores = apply(rules, state, ops.wide(state.logits))
    if settings.do_sample:
        scores = apply(warps, state, scores)
        # The token with the largest p / q, q exponential, is one drawn with probability p.
        token = ops.argmax(ops.softmax(scores) / noise(state.row, state.length, scores))
    else:
        token = ops.argmax(scores)
    token = ops.where(state.search.ended, settings.pad, token)
    ids = ops.set_column(state.ids, state.length, token)
    ended = state.search.ended | ends(ops, settings, state, ids, token)
    finished = ops.all_of(ended) | (state.length + 1 >= settings.max_length)
    return replace(state, ids=ids, length=state.length + 1, search=Grown(ended), done=finished)


def first_beams(ops: Any, settings: Settings, state: State) -> State:
    """The state before the first token of a beam search: all beams are equal, so only the first counts."""
    zeros = ops.number(ops.false(state.ids[..., 0]))
    first = ops.arange(settings.num_beams, state.ids) == 0
    false = ops.false(state.ids[..., 0])
    beams = Beams(
        scores=zeros + ops.where(first, 0.0, LOW),
        ended_ids=state.ids,
        ended_scores=zeros + LOW,
        ended=false,
        ended_length=ops.zeros(state.ids.shape[:2], state.ids) + settings.prompt,
        hope=~state.done[:, None],
        **paths(ops, settings, state),
    )
    return replace(state, search=beams)


def paths(ops: Any, settings: Settings, state: State) -> dict[str, Array]:
    """Where beam_indices are kept, if anybody asked for them."""
    if not settings.as_dictionary:
        return {}
    empty = ops.zeros(state.ids.shape, state.ids) - 1
    return {"path": empty, "ended_path": empty + 0}


def beam(ops: Any, settings: Settings, rules: Sequence[Rule], warps: Sequence[Rule], noise: Any, state: State) -> State:
    """One token more for each beam: of all beams' continuations the best go on, and the best of those that end are kept."""
    kept, count, was = settings.kept, settings.num_beams, state.search
    scores = apply(rules, state, ops.log_softmax(state.logits))
    if settings.do_sample:
        scores = apply(warps, state, scores)
    vocab = scores.shape[-1]
    total = ops.flat(scores + was.scores[..., None])
    if settings.do_sample:
        # The largest p / q, q exponential, are a draw without replacement.
        _, chosen = ops.top_k(ops.softmax(total) / noise(state.row, state.length, total), kept)
        best = ops.take_last(total, chosen)
    else:
        best, chosen = ops.top_k(total, kept)
    parent, token = ops.divided(chosen, vocab)
    ids = ops.set_column(ops.pick(state.ids, parent), state.length, token)
    ending = ends(ops, settings, state, ids, token) | (state.length + 1 >= settings.max_length)
    running, on = ops.top_k(best + ops.number(ending) * LOW, count)
    path = was.path
    if path is not None:
        path = ops.set_column(
            ops.pick(path, parent), state.length - settings.prompt, parent + state.row[:, None] * count
        )
    search = keep_ended(ops, settings, was, ids, path, best, ending, state.length + 1)
    made = state.length + 1 - settings.prompt
    reach = (
        settings.max_length - settings.prompt
        if settings.early_stopping == "never" and settings.length_penalty > 0
        else made
    )
    worst = ops.where(search.ended, ops.least(search.ended_scores), LOW)
    hope = was.hope & ops.any_of(running[:, :1] / ops.power(reach, settings.length_penalty, settings.room) > worst)
    hope = hope & ~ops.all_of(ending)[:, None]
    done = ~hope[:, 0] | (state.length + 1 >= settings.max_length)
    if settings.early_stopping is True:
        done = done | every_full(ops, state, ops.all_of(search.ended))
    return replace(
        state,
        ids=ops.pick(ids, on),
        length=state.length + 1,
        lineage=None if state.lineage is None else ops.pick(state.lineage, ops.pick(parent, on)),
        search=replace(search, scores=running, hope=hope, path=None if path is None else ops.pick(path, on)),
        done=done,
    )


def every_full(ops: Any, state: State, full: Array) -> Array:
    """(B,) whether sources have all the hypotheses they need; where each step is recorded, whether all of them have.

    transformers takes steps until then, so that what it records is as long.
    """
    return full & ops.all_true(full) if state.whole and not ops.FIXED_SHAPES else full


def keep_ended(
    ops: Any, settings: Settings, was: Beams, ids: Array, path: Array | None, best: Array, ending: Array, length: Any
) -> Beams:
    """The best K sequences that have ended, after those that end now: only the first K candidates may."""
    count = settings.num_beams
    ending = ending & (ops.arange(settings.kept, ids) < count)
    scores = best / ops.power(length - settings.prompt, settings.length_penalty, settings.room)
    closed = ~was.hope
    if settings.early_stopping is True:
        closed = closed | ops.all_of(was.ended)[:, None]
    scores = scores + ops.number(closed) * LOW + ops.number(~ending) * LOW
    scores, order = ops.top_k(ops.concat([was.ended_scores, scores], 1), count)
    lengths = ops.concat([was.ended_length, ops.zeros(ending.shape, ids) + length], 1)
    return replace(
        was,
        ended_ids=ops.pick(ops.concat([was.ended_ids, ids], 1), order),
        ended_scores=scores,
        ended=ops.pick(ops.concat([was.ended, ending], 1), order),
        ended_length=ops.pick(lengths, order),
        ended_path=None if path is None else ops.pick(ops.concat([was.ended_path, path], 1), order),
    )
