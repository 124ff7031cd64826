"""What diverse and constrained beam search keep of a source: running beams in groups, and of each group the best that ended.

Arithmetic, stopping and ties are those of the scorers that these two modes had in transformers until 4.56: a group is closed
once it is full and its best candidate cannot beat its worst sequence, and what runs when the length is reached is added.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from conjoin.decoding.search.steps import LOW, best_of_both, paths, written
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.stopping import ends

__all__ = ["Candidates", "Hypotheses", "candidates", "closes", "first_open", "opened", "with_ended"]

Array = Any
NONE = -3.0e38  # the score of a place in which no sequence has ended


@dataclass
class Hypotheses:
    """K beams of a source, those of a group side by side, and as many places for sequences that have ended."""

    scores: Array  # (B, K) sums of log-probabilities
    ended_ids: Array  # (B, K, L)
    ended_scores: Array  # (B, K), best first in each group
    ended: Array  # (B, K)
    ended_length: Array  # (B, K)
    closed: Array  # (B, groups) groups that need no further step
    path: Array | None = None  # (B, K, L) from which row of B * K each token came, by steps; -1 after them
    ended_path: Array | None = None


Kept = TypeVar("Kept", bound=Hypotheses)


class Candidates(NamedTuple):
    """The best continuations of a group's beams, (B, C) each, best first."""

    best: Array  # sums of log-probabilities
    parent: Array
    token: Array
    ends: Array
    ids: Array  # (B, C, L)
    path: Array | None

    def first(self, count: int) -> tuple[Array, Array | None, Array]:
        """Sequences, from which rows their tokens came, and sums of the best, which alone may end."""
        return self.ids[:, :count], None if self.path is None else self.path[:, :count], self.best[:, :count]


def opened(ops: Any, settings: Settings, state: State) -> Hypotheses:
    """Before the first token: all beams of a group are equal, so only its first counts."""
    false = ops.false(state.ids[..., 0])
    zeros = ops.number(false)
    first = ops.divided(ops.arange(settings.num_beams, state.ids), settings.group_size)[1] == 0
    return Hypotheses(
        scores=zeros + ops.where(first, 0.0, LOW),
        ended_ids=state.ids,
        ended_scores=zeros + NONE,
        ended=false,
        ended_length=ops.zeros(state.ids.shape[:2], state.ids) + settings.prompt,
        closed=ops.broadcast(state.done[:, None], (state.ids.shape[0], settings.num_beam_groups)),
        **paths(ops, settings, state),
    )


def candidates(ops: Any, settings: Settings, state: State, total: Array, first: int = 0) -> Candidates:
    """The best continuations by their sums (B, beams, V), enough of them that beams are left when some end.

    The state's beams stand from the place `first` on. Of several end tokens the first is written for all, as transformers did.
    """
    best, chosen = ops.top_k(ops.flat(total), settings.candidates_of(total.shape[1]))
    parent, token = ops.divided(chosen, total.shape[-1])
    ids, path = written(ops, settings, state, parent, token, first)
    over = ops.is_in(token, settings.eos)
    stops = ends(ops, settings, state, ids, token)
    if settings.eos:
        ids = ops.set_column(ids, state.length, ops.where(over, settings.eos[0], token))
    return Candidates(best, parent, token, stops, ids, path)


def first_open(ops: Any, over: Array, count: int) -> Array:
    """Where the first `count` of the candidates (B, C) stand that do not end."""
    place = ops.arange(over.shape[1], over)
    _, on = ops.top_k(-ops.number(ops.where(over, place + over.shape[1], place)), count)
    return on


def with_ended(
    ops: Any, settings: Settings, was: Kept, ids: Array, path: Array | None, sums: Array, which: Array, length: Any
) -> Kept:
    """The best after sequences (B, N, L) of so many tokens, with their sums (B, N), were added where `which` says so."""
    which = ops.broadcast(which, sums.shape)
    scores = ops.where(which, sums / ops.power(length - settings.prompt, settings.length_penalty, settings.room), NONE)
    return best_of_both(ops, was, scores, ids, path, which, length)


def closes(ops: Any, settings: Settings, now: Hypotheses, found: Candidates, made: Any) -> Array:
    """Whether a group (B, 1) needs no further step.

    It is full, and its best candidate of `made` tokens cannot beat its worst sequence; or all its candidates have ended.
    """
    full = ops.all_of(now.ended)[:, None]
    if settings.early_stopping is not True:
        never = settings.early_stopping == "never" and settings.length_penalty > 0
        reach = settings.max_length - settings.prompt if never else made
        hope = found.best[:, :1] / ops.power(reach, settings.length_penalty, settings.room)
        full = full & (ops.least(now.ended_scores) >= hope)
    return full | ops.all_of(found.ends)[:, None]
