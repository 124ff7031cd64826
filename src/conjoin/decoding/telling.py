"""A streamer of transformers' kind beside the loop: it is told each token, or with beams each that is certain."""

from collections.abc import Callable
from typing import Any

from conjoin.decoding.callbacks import Streamer
from conjoin.decoding.certain import Certain
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.errors import InputError

__all__ = ["telling"]


def telling(
    ops: Any, settings: Settings, streamer: Streamer, first: State, choose: Callable[[State], State]
) -> Callable[[State], State]:
    """`choose`, with the streamer told what it chose; the prompt at once, the end after the last step."""
    if settings.search not in ("single", "beams"):
        raise InputError(
            f"streamer was given, and {settings.search} search has no token that is certain before its end; leave it out."
        )
    beams = settings.num_beams > 1
    sources = first.ids.shape[0]
    if beams and (sources > 1 or settings.num_return_sequences > 1):
        raise InputError(
            f"streamer was given for {sources} sources with num_beams={settings.num_beams} and num_return_sequences="
            f"{settings.num_return_sequences}; with beams it takes one sequence of one source."
        )
    count = 1 if beams else settings.hypotheses
    streamer.put(ops.on_cpu(ops.merged(first.ids[:, :count, : settings.prompt])))
    certain = Certain(ops, sources)
    certain.handed = [settings.prompt] * sources

    def chosen(state: State) -> State:
        state = choose(state)
        if not beams:
            streamer.put(ops.on_cpu(ops.merged(state.ids[..., state.length - 1])))
        for _, ids in certain.after(state) if beams else ():
            streamer.put(ops.on_cpu(ops.constant_row(ids, state.ids)))
        if bool(ops.all_true(state.done)):
            streamer.end()
        return state

    return chosen
