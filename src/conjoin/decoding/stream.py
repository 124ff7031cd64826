"""One sequence made token by token, each handed out as soon as it is chosen; greedy search and sampling."""

from collections.abc import Iterator, Mapping
from typing import Any

from conjoin.decoding import search
from conjoin.decoding.call import INPUTS
from conjoin.decoding.generate import begun, resolved
from conjoin.decoding.rules import processors, warpers
from conjoin.decoding.state import advance
from conjoin.errors import InputError, refuse_unknown
from conjoin.generation import GENERATION_FIELDS

__all__ = ["stream"]

Array = Any


def stream(model: Any, input_ids: Array, given: Mapping[str, Any]) -> Iterator[int]:
    """The ids that `model.generate(input_ids, **given)` makes of one source (1, S), the prompt first, one at a time.

    Between two of them the model is as it was, so that several streams and other calls may take turns. Raises what
    `generate` raises, and InputError for beams, several sources or several sequences.
    """
    input_ids, given = model.read_first(input_ids, dict(given))
    refuse_unknown("stream()", given, [*INPUTS, "seed", *GENERATION_FIELDS])
    config = model.config.generation.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
    ops = model.ops
    settings, call = resolved(model, input_ids, config, given)
    with ops.no_gradients(model) as ready:
        start = begun(ops, ready, settings, call)
    sources = len(start.row)
    if settings.hypotheses > 1 or sources > 1:
        raise InputError(f"a stream is one sequence of one source; {settings.hypotheses} of {sources} were asked for.")
    state = search.first_grown(ops, start)
    rules = processors(ops, settings, call.rule_ids)
    warps = warpers(ops, settings) if settings.do_sample else []
    noise = ops.noise(given.get("seed"), 1, 1)
    yield from (int(token) for token in start.ids[0, 0, : start.length])
    while True:
        with ops.no_gradients(model):
            state = search.grow(ops, settings, rules, warps, noise, state)
        yield int(state.ids[0, 0, state.length - 1])
        if bool(state.done[0]):
            return
        with ops.no_gradients(model) as ready:
            state = advance(ops, ready, state)
