"""When a hypothesis ends: at an end token, with a stop string, when the user's criteria or the clock say so."""

import time
from typing import Any

from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.errors import InputError

__all__ = ["ends"]

Array = Any


def ends(ops: Any, settings: Settings, state: State, ids: Array, token: Array) -> Array:
    """(B, N) whether hypotheses end with `token` (B, N), which stands in column `state.length` of ids (B, N, L)."""
    ended = ops.is_in(token, settings.eos)
    if state.stop_moves is not None:
        ended = ended | stops(ops, settings, state.stop_moves, ids, state.length + 1)
    for criterion in settings.callbacks.criteria:
        ended = ended | judged(ops, criterion, ids, state)
    if settings.callbacks.deadline is not None and time.monotonic() > settings.callbacks.deadline:
        ended = ended | ops.true(ended)
    return ended


def stops(ops: Any, settings: Settings, moves: Array, ids: Array, length: Any) -> Array:
    """(B, N) whether a stop string ends within the last token. `moves` (tokens * states,) is `stop_strings.moves`.

    No string is longer than `stop_window` tokens, so reading so many of them from the start finds any.
    """
    state = ops.zeros(ids.shape[:2], ids)
    hit = state
    for back in range(min(settings.stop_window, ids.shape[-1]), 0, -1):
        token = ops.column(ids, length - back)[..., 0]
        known = (token >= 0) & (token < settings.stop_tokens) & (length >= back)
        place = ops.where(known, token * settings.stop_states + state, 0)
        state, hit = ops.divided(ops.where(known, ops.taken(moves, place), 0), 2)
    return hit == 1


def judged(ops: Any, criterion: Any, ids: Array, state: State) -> Array:
    """What a criterion of the user's says of ids (B, N, L): one answer for all, or one for each."""
    shape = ids.shape[:2]
    recorded = None if state.record is None else state.record.get("scores")
    scores = None if recorded is None else tuple(ops.merged(x) for x in (*recorded, *(state.scores or ())))
    found = criterion(ops.copied(ops.merged(ids[..., : state.length + 1])), scores)
    if isinstance(found, bool):
        return ops.true(ids[..., 0]) if found else ops.false(ids[..., 0])
    if not ops.is_array(found) or tuple(found.shape) not in ((), (shape[0] * shape[1],)):
        came = tuple(found.shape) if ops.is_array(found) else repr(found)
        raise InputError(
            f"stopping_criteria: {criterion!r} returned {came}; True or False was expected, or a tensor of "
            f"{shape[0] * shape[1]} of them, one a row."
        )
    return ops.flags(found) if not found.shape else ops.reshaped(ops.flags(found), shape)
