"""Diverse beam search: groups of beams one after another, each penalised for the tokens that earlier ones chose.

Vijayakumar et al. (2016), https://arxiv.org/abs/1610.02424, with the Hamming distance.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from conjoin.decoding.search.hypotheses import (
    Hypotheses,
    candidates,
    closes,
    first_open,
    opened,
    with_ended,
)
from conjoin.decoding.search.steps import LOW, Result, Rules, apply, written
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State

__all__ = ["best_of_groups", "diverse", "first_groups"]

Array = Any
COLUMNS = ("scores", "ended_ids", "ended_scores", "ended", "ended_length", "path", "ended_path")


def first_groups(ops: Any, settings: Settings, state: State) -> State:
    """The state before the first token."""
    return replace(state, search=opened(ops, settings, state))


def diverse(ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State) -> State:
    """One token more for each beam, group by group."""
    size, lineage = settings.group_size, state.lineage
    after: list[Hypotheses] = []
    parents: list[Array] = []
    tokens: list[Array] = []
    for group in range(settings.num_beam_groups):
        now = group_of(state, group, size)
        scores = apply(rules, now, unlike(ops, settings, ops.log_softmax(now.logits), tokens))
        search, parent, token = step(ops, settings, now, scores, group * size)
        after.append(search)
        parents.append(parent + group * size)
        tokens.append(token)
    parent = ops.concat(parents, 1)
    ids, _ = written(ops, settings, state, parent, ops.concat(tokens, 1))
    search = joined(ops, after)
    return replace(
        state,
        ids=ids,
        length=state.length + 1,
        lineage=None if lineage is None else ops.pick(lineage, parent),
        search=search,
        done=ops.all_of(search.closed) | (state.length + 1 >= settings.max_length),
    )


def group_of(state: State, group: int, size: int) -> State:
    """The state of one group."""
    part, search = slice(group * size, (group + 1) * size), state.search
    logits: Any = state.logits
    against = None if state.against is None else state.against[:, part]
    columns = {name: None if (x := getattr(search, name)) is None else x[:, part] for name in COLUMNS}
    own = Hypotheses(**columns, closed=search.closed[:, group : group + 1])
    return replace(state, ids=state.ids[:, part], logits=logits[:, part], against=against, search=own)


def joined(ops: Any, groups: Sequence[Hypotheses]) -> Hypotheses:
    """All groups side by side."""
    every = {name: [getattr(group, name) for group in groups] for name in (*COLUMNS, "closed")}
    return Hypotheses(**{name: None if x[0] is None else ops.concat(x, 1) for name, x in every.items()})


def unlike(ops: Any, settings: Settings, scores: Array, tokens: Sequence[Array]) -> Array:
    """Scores (B, size, V) less the penalty for each time that a beam of an earlier group has just chosen a token."""
    vocab = ops.arange(scores.shape[-1], scores)
    for chosen in tokens:
        for beam in range(chosen.shape[1]):
            alike = ops.number(vocab == chosen[:, beam : beam + 1])
            scores = scores - settings.diversity_penalty * alike[:, None]
    return scores


def step(ops: Any, settings: Settings, now: State, scores: Array, first: int) -> tuple[Hypotheses, Array, Array]:
    """A group's beams one token on by scores (B, size, V): what is kept, and their parents and tokens (B, size)."""
    was, size, length = now.search, settings.group_size, now.length + 1
    found = candidates(ops, settings, now, scores + was.scores[..., None], first)
    ids, path, sums = found.first(size)
    search = with_ended(ops, settings, was, ids, path, sums, found.ends[:, :size] & ~was.closed, length)
    closed = was.closed | closes(ops, settings, search, found, length - settings.prompt)
    on = first_open(ops, found.ends, size)
    parent, token, sums, over = (ops.take_last(x, on) for x in (found.parent, found.token, found.best, found.ends))
    sums = ops.where(over, sums + LOW, sums)  # where too few are left, one that has ended fills a place
    token = ops.where(was.closed, settings.pad, token)
    ids, path = written(ops, settings, now, parent, token, first)
    search = with_ended(ops, settings, search, ids, path, sums, ~closed & (length >= settings.max_length), length)
    return replace(search, scores=sums, closed=closed, path=path), parent, token


def best_of_groups(ops: Any, settings: Settings, state: State) -> Result:
    """Of all groups' sequences the best."""
    search = state.search
    scores, order = ops.top_k(search.ended_scores, settings.num_return_sequences)
    found = {"ids": ops.pick(search.ended_ids, order), "sequences_scores": scores}
    if search.ended_path is not None:
        found["beam_indices"] = ops.pick(search.ended_path, order)
    return found, ops.greatest(ops.pick(search.ended_length, order))
