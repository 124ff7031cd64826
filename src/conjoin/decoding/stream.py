"""One sequence made token by token, each handed out as soon as it is chosen; greedy search and sampling."""

from collections.abc import Iterator, Mapping
from typing import Any

from conjoin.decoding.buckets import bucketed
from conjoin.decoding.call import INPUTS, Call
from conjoin.decoding.compiled import begun_search, joined, parted
from conjoin.decoding.generate import begun, chooser, resolved
from conjoin.decoding.search import Grown, first_grown
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State, advance
from conjoin.errors import InputError, refuse_unknown
from conjoin.generation import GENERATION_FIELDS

__all__ = ["stream"]

Array = Any
Arrays = dict[str, Any]
KEPT = ("memory", "memory_mask", "read", "row")  # of a state, what every step reads and none changes


def stream(model: Any, input_ids: Array, given: Mapping[str, Any]) -> Iterator[int]:
    """The ids that `model.generate(input_ids, **given)` makes of one source (1, S), the prompt first, one at a time.

    The start is one program and each further token another, where the framework compiles; both serve every source of the
    same padded shape. Between two tokens the model is as it was, so that several streams and other calls may take turns.
    Raises what `generate` raises, and InputError for beams, several sources or several sequences.
    """
    input_ids, given = model.read_first(input_ids, dict(given))
    refuse_unknown("stream()", given, [*INPUTS, "seed", *GENERATION_FIELDS])
    config = model.config.generation.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
    ops = model.ops
    settings, call = resolved(model, input_ids, config, given)
    sources = call.source.shape[0]
    if settings.hypotheses > 1 or sources > 1:
        raise InputError(f"a stream is one sequence of one source; {settings.hypotheses} of {sources} were asked for.")
    settings, call = bucketed(ops, model, settings, call)
    start, step = ops.programs(model, settings, ops.noise(given.get("seed"), 1, 1), started, stepped)
    kept, changing = start(call.arrays())
    handed = 0
    while True:
        length = int(changing["length"])
        yield from ops.id_lists(changing["ids"])[0][0][handed:length]
        handed = length
        if all(ops.id_lists(changing["done"])):
            return
        changing = step(kept, changing)


def started(ops: Any, model: Any, settings: Settings, noise: Any, arrays: Arrays) -> tuple[Arrays, Arrays]:
    """The source and the prompt read, and what comes first chosen: what stays, and what changes."""
    call = Call(**arrays)
    state = first_grown(ops, begun(ops, model, settings, call))
    kept = {name: x for name in KEPT if (x := getattr(state, name)) is not None}
    if call.rule_ids is not None:
        kept["rule_ids"] = call.rule_ids
    return kept, parted(ops, begun_search(chooser(ops, settings, noise, call.rule_ids), state))


def stepped(ops: Any, model: Any, settings: Settings, noise: Any, kept: Arrays, changing: Arrays) -> Arrays:
    """One token more."""
    choose = chooser(ops, settings, noise, kept.get("rule_ids"))
    return parted(ops, choose(advance(ops, model, state_of(kept, changing))))


def state_of(kept: Arrays, changing: Arrays) -> State:
    """The state of both."""
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
        search=Grown(None),
    )
    return joined(stays, changing)
