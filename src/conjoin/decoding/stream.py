"""Sequences made token by token on the host's side, each token handed out as soon as it is certain; every search that has one
best hypothesis."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from conjoin.decoding.buckets import bucketed
from conjoin.decoding.call import ARGUMENTS, Call
from conjoin.decoding.certain import Certain
from conjoin.decoding.compiled import begun_search, joined, parted
from conjoin.decoding.generate import begun, chooser, resolved
from conjoin.decoding.search import Beams, Grown, search_of
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State, advance
from conjoin.errors import InputError, refuse_unknown
from conjoin.generation import GENERATION_FIELDS

__all__ = ["stream", "streams"]

Array = Any
Arrays = dict[str, Any]
KEPT = (
    "memory",
    "memory_mask",
    "read",
    "row",
    "stop_moves",
    "allowed",
    "shortlist",
    "padding",
)  # of a state, what every step reads and none changes
BEAM_FIELDS = len(fields(Beams))


def stream(model: Any, input_ids: Array, given: Mapping[str, Any]) -> Iterator[int]:
    """The ids that `model.generate(input_ids, **given)` makes of one source (1, S), the prompt first, one at a time.

    As `streams`; raises InputError for several sources too.
    """
    for row, ids in streams(model, input_ids, given):
        if row:
            raise InputError("a stream is of one source, and several came; streams() is for these.")
        yield from ids


def streams(model: Any, input_ids: Array, given: Mapping[str, Any]) -> Iterator[tuple[int, list[int]]]:
    """(source, ids) whenever ids of a source are certain: joined they are what `generate` makes of it, without padding.

    Sources (B, S) go side by side. With beams ids come when all hypotheses that can still win have them. The start is one
    program and each further token another, where the framework compiles; both serve every call of the same padded shape.
    Between two tokens the model is as it was, so that several streams and other calls may take turns. Raises what `generate`
    raises, and InputError for several sequences of a source and for what only a whole call can give.
    """
    input_ids, given = model.read_first(input_ids, dict(given))
    refuse_unknown("stream()", given, [*ARGUMENTS, *GENERATION_FIELDS])
    config = model.config.generation.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
    model, input_ids, given = model.searcher(config, input_ids, given)
    ops = model.ops
    settings, call = resolved(model, input_ids, config, given)
    rows = call.source.shape[0]
    check(settings)
    settings, call = bucketed(ops, model, settings, call)
    noise = ops.noise(given.get("seed"), call.source.shape[0], settings.hypotheses)
    start, step = ops.programs(model, settings, noise, started, stepped)
    kept, changing = start(call.arrays())
    certain = Certain(ops, rows)
    while True:
        yield from certain.after(state_of(settings, kept, changing))
        if all(ops.id_lists(changing["done"])):
            return
        changing = step(kept, changing)


def check(settings: Settings) -> None:
    """Raises InputError for what a stream cannot give."""
    if settings.search not in ("single", "beams"):
        raise InputError(
            f"a stream hands out ids as soon as they are certain, and {settings.search} search has none before its end; "
            f"use generate()."
        )
    if settings.num_return_sequences > 1:
        raise InputError(
            f"num_return_sequences is {settings.num_return_sequences}; a stream is one sequence of each source."
        )
    if settings.callbacks.streamer is not None:
        raise InputError("streamer was given to a stream, which hands out ids itself; give it to generate().")


def started(ops: Any, model: Any, settings: Settings, noise: Any, arrays: Arrays) -> tuple[Arrays, Arrays]:
    """The source and the prompt read, and what comes first chosen: what stays, and what changes."""
    call = Call(**arrays)
    state = begun(ops, model, settings, call)
    state = search_of(settings).first(ops, settings, state)
    kept = {name: x for name in KEPT if (x := getattr(state, name)) is not None}
    if call.rule_ids is not None:
        kept["rule_ids"] = call.rule_ids
    return kept, parted(ops, begun_search(chooser(ops, settings, noise, call.rule_ids), state))


def stepped(ops: Any, model: Any, settings: Settings, noise: Any, kept: Arrays, changing: Arrays) -> Arrays:
    """One token more."""
    choose = chooser(ops, settings, noise, kept.get("rule_ids"))
    return parted(ops, choose(advance(ops, model, state_of(settings, kept, changing))))


def state_of(settings: Settings, kept: Arrays, changing: Arrays) -> State:
    """The state of both."""
    search = Beams(*[None] * BEAM_FIELDS) if settings.num_beams > 1 else Grown(None)
    stays = State(
        ids=None,
        length=None,
        logits=None,
        cache=[],
        at=None,
        memory=kept["memory"],
        memory_mask=kept.get("memory_mask"),
        lineage=None,
        read=kept["read"],
        row=kept["row"],
        done=None,
        search=search,
        guided=settings.guidance_scale != 1.0,
        stop_moves=kept.get("stop_moves"),
        allowed=kept.get("allowed"),
        shortlist=kept.get("shortlist"),
        padding=kept.get("padding"),
    )
    return joined(stays, changing)
