"""What each step leaves behind for who asked: scores and logits, and after the last one the cache."""

from dataclasses import replace
from typing import Any

from conjoin.blocks import Cache
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.tracing import TRACED, own_past
from conjoin.seq2seq.cache import DecoderCache

__all__ = ["begun_record", "found_outputs", "noted"]

Array = Any


def begun_record(ops: Any, settings: Settings, shape: tuple[int, int, int], like: Array) -> dict[str, Any] | None:
    """Room for what is asked for; scores and logits are (B, K, V) a step. None where nothing is asked for."""
    record: dict[str, Any] = {}
    for name in ("scores", "logits"):
        if name in settings.outputs:
            record[name] = ops.room_for_steps(settings.room, shape, like)
    for name, keys in TRACED.items():
        record |= {key: [] for key in keys if name in settings.outputs}
    return record or None


def noted(ops: Any, settings: Settings, now: State, then: State, scores: list[Array]) -> State:
    """The state after a step, with the logits that the step began with and the scores that it made of them."""
    if now.record is None or now.logits is None:
        return then
    made = {"scores": scores, "logits": [ops.wide(now.logits)]}
    record = dict(now.record)
    for name in made.keys() & record.keys():
        record[name] = ops.with_step(record[name], now.length - settings.prompt, ops.concat(made[name], 1))
    return replace(then, record=record)


def final_cache(ops: Any, settings: Settings, state: State) -> DecoderCache:
    """The past of all hypotheses, as if each had been a row of its own: but for the last token, which nobody read."""
    batch, count = state.ids.shape[:2]
    places = own_past(ops, state.lineage, state.read, count)

    def own(x: Array) -> Array:
        x = x[:batch, :, : state.at]
        if places is None:
            return x
        found = ops.pick(ops.swapped(x), ops.reshaped(places, (batch, -1)))
        return ops.swapped(ops.reshaped(found, (batch * count, -1, *found.shape[2:])))

    def source(x: Array) -> Array:
        return ops.repeated(x[:batch], count)

    caches: list[Cache] = [(own(k), own(v)) for k, v in state.cache]
    mask = None if state.memory_mask is None else source(state.memory_mask)
    return DecoderCache(caches, state.length - 1, [(source(k), source(v)) for k, v in state.memory], mask)


def found_outputs(ops: Any, settings: Settings, state: State) -> dict[str, Any]:
    """All that a finished state holds beside sequences."""
    found = dict(state.record or {})
    if "cache" in settings.outputs:
        found["past_key_values"] = final_cache(ops, settings, state)
    return found
