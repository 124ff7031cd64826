"""Constrained beam search: beams that go on by themselves beside beams that a constraint leads on, by how far they are.

Anderson et al. (2017), https://arxiv.org/abs/1612.00576, with the banks of Post and Vilar (2018),
https://arxiv.org/abs/1804.06609. A sequence counts as ended only where every constraint is met. What does not meet them all
when the length is reached is given after all that does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from conjoin.decoding.search.hypotheses import (
    Hypotheses,
    candidates,
    closes,
    first_open,
    opened,
    with_ended,
)
from conjoin.decoding.search.progress import Progress, advanced, all_met, banks, begun_progress, openings
from conjoin.decoding.search.steps import LOW, Result, Rules, apply, written
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["best_of_met", "constrained", "first_constrained"]

Array = Any
WORST = -1.0e38  # a sum below all others but those that rules forbid
BANK = 100.0  # how much a bank is worth beside a sum of log-probabilities


@dataclass
class Constrained(Hypotheses):
    """Beams, and how far each is with its constraints."""

    node: Array | None = None  # (B, K, C)
    order: Array | None = None  # (B, K, C)

    @property
    def progress(self) -> Progress:
        """Both."""
        return Progress(self.node, self.order)


class Options(NamedTuple):
    """What may go on, (B, N) each, and how far it is, (B, N, C) each."""

    sums: Array
    parent: Array
    token: Array
    over: Array
    node: Array
    order: Array


def first_constrained(ops: Any, settings: Settings, state: State) -> State:
    """The state before the first token; what the prompt says counts."""
    now = opened(ops, settings, state)
    prompt_columns = 1 if state.hidden is None else state.hidden.shape[1]
    progress = begun_progress(ops, settings.constraints, state.ids, settings.prompt, prompt_columns)
    own = {f.name: getattr(now, f.name) for f in fields(now)}
    return replace(state, search=Constrained(**own, node=progress.node, order=progress.order))


def constrained(ops: Any, settings: Settings, rules: Rules, warps: Rules, noise: Any, state: State) -> State:
    """One token more for each beam."""
    was, count, length = state.search, settings.num_beams, state.length + 1
    total = apply(rules, state, ops.log_softmax(state.logits)) + was.scores[..., None]
    found = candidates(ops, settings, state, total)
    whole = ops.take_last(all_met(ops, settings.constraints, was.progress), found.parent)
    ids, path, sums = found.first(count)
    search = with_ended(ops, settings, was, ids, path, sums, (found.ends & whole)[:, :count] & ~was.closed, length)
    closed = was.closed | closes(ops, settings, search, found, length - settings.prompt)
    run = first_open(ops, found.ends & (whole | goes_on(settings, length)), count)
    on = chosen(ops, settings, state, total, [ops.take_last(x, run) for x in found[:4]])
    ids, path = written(ops, settings, state, on.parent, on.token)
    met = all_met(ops, settings.constraints, Progress(on.node, on.order))
    led_over = ends(ops, settings, state, ids, on.token) & ~on.over  # by a stop string that a constraint completes
    left = met & ~closed & (led_over | (length >= settings.max_length))
    search = with_ended(ops, settings, search, ids, path, on.sums, left, length)
    # What has ended goes on only where it is all that is left, to be given as not met.
    sums = ops.where((led_over | on.over) & ~closed & (length < settings.max_length), on.sums + LOW, on.sums)
    return replace(
        state,
        ids=ids,
        length=length,
        lineage=None if state.lineage is None else ops.pick(state.lineage, on.parent),
        search=replace(search, scores=sums, closed=closed, path=path, node=on.node, order=on.order),
        done=closed[:, 0] | (length >= settings.max_length),
    )


def goes_on(settings: Settings, length: Any) -> Any:
    """Whether what ends now may be left: not where the end is forced, whatever is met."""
    return not settings.forced_eos or length < settings.max_length


def chosen(ops: Any, settings: Settings, state: State, total: Array, free: Sequence[Array]) -> Options:
    """The beams that go on: of those that do freely, `free` (sums, parents, tokens, ended), and those that constraints lead on.

    Sorted by bank, then by sum; the best of each bank come first, then the second of each, and so on.
    """
    count, was = settings.num_beams, state.search.progress
    led = openings(ops, settings.constraints, was)  # (B, K, E)
    real, led = led >= 0, ops.where(led >= 0, led, 0)
    leader = ops.broadcast(ops.arange(count, led)[None, :, None], led.shape)
    more = (ops.take_last(total, led), leader, led, ops.false(led))
    sums, parent, token, over = (ops.concat([a, ops.flat(b)], 1) for a, b in zip(free, more, strict=True))
    real = ops.flat(real) & (sums[:, count:] > WORST) & ~repeated(ops, state, parent, token)[:, count:]
    now = Progress(*(ops.pick(x, parent) for x in was))
    now = advanced(ops, settings.constraints, now, token, len(settings.constraints) + state.length)
    place = by_turns(ops, sums, banks(ops, settings.constraints, now), real, count)
    place = ops.where(ops.total(real)[:, None] > 0, place, ops.arange(count, place)[None])
    return Options(*(ops.take_last(x, place) for x in (sums, parent, token, over)), *(ops.pick(x, place) for x in now))


def repeated(ops: Any, state: State, parent: Array, token: Array) -> Array:
    """Which of some continuations (B, N) are the same sequence as one before them."""
    ids = state.ids
    other = (ids[:, :, None] != ids[:, None]) & (ops.arange(ids.shape[2], ids) < state.length)
    namesake = ops.argmax(-ops.number(ops.total(other) > 0))  # (B, K) the first beam that says the same
    say = ops.take_last(namesake, parent)
    same = (say[:, :, None] == say[:, None]) & (token[:, :, None] == token[:, None])
    place = ops.arange(token.shape[1], ids)
    return ops.total(same & (place[None, :] < place[:, None])) > 0


def by_turns(ops: Any, sums: Array, bank: Array, real: Array, count: int) -> Array:
    """Where the `count` (B, count) stand that go on: of as many free ones, and led ones after them that are `real`."""
    size = sums.shape[1]
    real = ops.concat([ops.true(sums) | ops.false(sums[:, :count]), real], 1)
    worth = ops.number(bank) * BANK + ops.where(sums < WORST, WORST, sums)  # one number, as transformers sorted by
    _, back = ops.sort(-ops.where(real, worth, float("-inf")))
    _, order = ops.top_k(-ops.number(back), size)
    bank, real = ops.take_last(bank, order), ops.take_last(real, order)
    place = ops.arange(size, bank)[None]
    fresh = bank != ops.concat([bank[:, :1], bank[:, :-1]], 1)
    turn = place - running_max(ops, ops.where(fresh, place, 0))
    turn = ops.where(real & (turn < count), turn, count)
    _, first = ops.top_k(-ops.number(turn * size + place), count)
    return ops.take_last(order, first)


def running_max(ops: Any, x: Array) -> Array:
    """The largest so far along the last axis of x (B, N), which has nothing below zero."""
    step, size = 1, x.shape[1]
    while step < size:
        before = ops.concat([x[:, :step] * 0, x[:, :-step]], 1)
        x, step = ops.where(before > x, before, x), 2 * step
    return x


def best_of_met(ops: Any, settings: Settings, state: State) -> Result:
    """The best sequences that meet all constraints; where there are too few of them, the best that meet fewer come after."""
    search, count = state.search, settings.num_beams
    unmet = ~all_met(ops, settings.constraints, search.progress)
    sums, order = ops.top_k(search.scores, count)
    length = ops.power(state.length - settings.prompt, settings.length_penalty, settings.room)
    place = ops.arange(count, state.ids)[None]
    turn = [
        ops.where(search.ended, place, place + 2 * count),
        ops.where(ops.take_last(unmet, order), place + count, place + 3 * count),
    ]
    _, best = ops.top_k(-ops.number(ops.concat(turn, 1)), settings.num_return_sequences)
    scores = ops.concat([search.ended_scores, sums / length], 1)
    lengths = ops.concat([search.ended_length, search.ended_length * 0 + state.length], 1)
    ids = ops.concat([search.ended_ids, ops.pick(state.ids, order)], 1)
    found = {"ids": ops.pick(ids, best), "sequences_scores": ops.take_last(scores, best)}
    if search.ended_path is not None:
        found["beam_indices"] = ops.pick(ops.concat([search.ended_path, ops.pick(search.path, order)], 1), best)
    return found, ops.greatest(ops.take_last(lengths, best))
