"""What each step leaves behind for who asked: scores and logits, and after the last one the cache."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conjoin.blocks import Cache
from conjoin.decoding.settings import Settings
from conjoin.decoding.state import State
from conjoin.decoding.tracing import TRACED, own_past
from conjoin.outputs import GenerateOutput
from conjoin.seq2seq.cache import DecoderCache

__all__ = ["begun_record", "found_outputs", "generated", "noted"]

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


def generated(
    ops: Any, settings: Settings, rows: int, sequences: Array, found: dict[str, Any], given: Mapping[str, Any]
) -> GenerateOutput:
    """All that a call returns, under transformers' names."""
    made = settings.max_length - settings.prompt if found["longest"] is None else found["longest"] - settings.prompt
    out = {name: x for name, x in found.items() if name in GenerateOutput.fields}
    for name in ("scores", "logits"):
        if name in out:
            out[name] = ops.by_step(out[name], rows, made if found["steps"] is None else found["steps"])
    for name in ("sequences_scores", "beam_indices"):
        if name in out:
            out[name] = ops.merged(out[name][:rows])
    if "beam_indices" in out:
        out["beam_indices"] = out["beam_indices"][:, :made]
    if "scores" not in settings.outputs:
        out.pop("sequences_scores", None)
    source = given.get("encoder_outputs")
    if isinstance(source, Mapping):
        names = [name for name in ("attentions", "hidden_states") if name in settings.outputs]
        out |= {f"encoder_{name}": source[name] for name in names if source.get(name) is not None}
    out |= {name: tuple(x) for name, x in out.items() if isinstance(x, list)}
    return GenerateOutput.of(sequences=sequences, **out)
