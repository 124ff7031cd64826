"""Beam search and beam sampling: which of several hypotheses go on. Arithmetic, stopping and ties are transformers'."""

from dataclasses import dataclass, replace
from typing import Any

from conjoin.decoding.search.steps import LOW, Rules, apply, best_of_both, forbidden_alone, paths, written
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["Beams", "beam", "first_beams"]

Array = Any


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


def beam(ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State) -> State:
    """One token more for each beam: of all beams' continuations the best go on, and the best of those that end are kept."""
    count, was = settings.num_beams, state.search
    best, chosen = (drawn if settings.do_sample else likeliest)(ops, settings, rules, warps, noise, state)
    parent, token = ops.divided(chosen, width_of(state))
    ids, path = written(ops, settings, state, parent, token)
    ending = ends(ops, settings, state, ids, token) | (state.length + 1 >= settings.max_length)
    running, on = ops.top_k(best + ops.number(ending) * LOW, count)
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
    done = ops.all_of(~hope | (state.length + 1 >= settings.max_length))
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


def likeliest(
    ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State
) -> tuple[Array, Array]:
    """The best continuations (B, N) of all beams, and where they stand in (B, K * V).

    Where rules do nothing but forbid, their log-probabilities may be looked at without being written down.
    """
    sums, logits = state.search.scores, state.logits
    forbidden = forbidden_alone(ops, rules, state, settings.kept)
    if logits is None:
        found = state.finder.best(state.hidden, forbidden, settings.kept)
        return ops.best_of_each(*found, sums, width_of(state))  # type: ignore[no-any-return]
    if forbidden is not None:
        return ops.best_of_logits(logits, forbidden, sums, settings.kept)  # type: ignore[no-any-return]
    scores = apply(rules, state, ops.log_softmax(logits))
    return ops.best_of_sums(scores, sums, settings.kept)  # type: ignore[no-any-return]


def width_of(state: State) -> int:
    """How many tokens there are to choose from."""
    return int(state.finder.spec.vocab if state.logits is None else state.logits.shape[-1])


def drawn(ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State) -> tuple[Array, Array]:
    """As `likeliest`, drawn at random."""
    scores = apply(warps, state, apply(rules, state, ops.log_softmax(state.logits)))
    total = ops.flat(scores + state.search.scores[..., None])
    # The largest p / q, q exponential, are a draw without replacement.
    _, chosen = ops.top_k(ops.softmax(total) / noise(state.row, state.length, total), settings.kept)
    return ops.take_last(total, chosen), chosen


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
    return best_of_both(ops, was, scores, ids, path, ending, length)
