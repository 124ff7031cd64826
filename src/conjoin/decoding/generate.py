"""`generate`: from a model, source ids and settings to sequences; the one entry to all searches."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from conjoin.chunks import asked_chunks, encoded_in_chunks
from conjoin.decoding import search
from conjoin.decoding.buckets import bucketed
from conjoin.decoding.call import INPUTS, Call, called
from conjoin.decoding.rules import processors, warpers
from conjoin.decoding.settings import Settings, resolve
from conjoin.decoding.state import State, advance
from conjoin.errors import refuse_unknown
from conjoin.generation import GENERATION_FIELDS, GenerationConfig
from conjoin.outputs import GenerateOutput

__all__ = ["begun", "chooser", "generate", "resolved"]

Array = Any


def generate(
    model: Any, input_ids: Array | None, generation_config: GenerationConfig | None, given: Mapping[str, Any]
) -> Array | GenerateOutput:
    """As `EncoderDecoderModel.generate` says."""
    input_ids, given = model.read_first(input_ids, dict(given))
    refuse_unknown("generate()", given, [*INPUTS, "seed", "input_ids", "generation_config", *GENERATION_FIELDS])
    config = model.config.generation
    if generation_config is not None:
        config = config.updated(generation_config.to_dict())
    config = config.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
    ops = model.ops
    settings, call = resolved(model, input_ids, config, given)
    rows = call.source.shape[0]
    settings, call = bucketed(ops, model, settings, call)
    noise = ops.noise(given.get("seed"), call.source.shape[0], settings.hypotheses)
    ids, scores, longest = ops.executed(decoded, model, settings, call, noise)
    sequences = flattened(ops, ids[:rows], longest)
    if not settings.as_dictionary:
        return sequences
    scores = ops.merged(scores[:rows]) if scores is not None and settings.output_scores else None
    return GenerateOutput.of(sequences=sequences, sequences_scores=scores)


def resolved(
    model: Any, input_ids: Array | None, config: GenerationConfig, given: Mapping[str, Any]
) -> tuple[Settings, Call]:
    """The settings of a call and what it was given, both checked against the model."""
    inputs = {name: given[name] for name in INPUTS if given.get(name) is not None}
    call = called(model.ops, model, inputs.pop("inputs", None) if input_ids is None else input_ids, inputs, config)
    spec = model.decoder.spec
    settings = resolve(config, prompt=call.prompt.shape[1], positions=spec.max_length, vocab=spec.vocab)
    model.ops.check_range(call.prompt, spec.vocab, "decoder")
    if call.states is None and call.inputs_embeds is None and call.position_ids is None:
        settings = replace(settings, chunks=asked_chunks(model.encoder, config))
    return settings, call


def decoded(
    ops: Any, model: Any, settings: Settings, noise: Any, arrays: dict[str, Array]
) -> tuple[Array, Array | None, Any]:
    """Everything that runs on a device: sequences (B, R, L), scores (B, R) of beams, and the longest's length."""
    call = Call(**arrays)
    return collected(ops, settings, searched(ops, model, settings, call, noise, begun(ops, model, settings, call)))


def begun(ops: Any, model: Any, settings: Settings, call: Call) -> State:
    """The state after source and prompt were read, the source encoded once and the prompt read once for all hypotheses."""
    states, seen = call.states, call.seen
    if states is None and settings.chunks is not None:
        chunked = encoded_in_chunks(ops, model.encoder, settings.chunks, call.input_ids, seen, call.token_type_ids)
        states = chunked["last_hidden_state"]
    if states is None:
        names = ("input_ids", "token_type_ids", "position_ids", "inputs_embeds", "global_tokens")
        inputs = {name: getattr(call, name) for name in names}
        if call.values is not None:
            inputs[model.encoder.spec.front.argument] = call.values
        states = model.encoder(attention_mask=seen, **inputs)["last_hidden_state"]
        seen = model.encoder.memory_mask(seen, ops.size(states, 1))
    memory = model.decoder.remember(model.memory(states))
    memory_mask = None if seen is None or ops.all_seen(seen) else seen[:, None, None, :]
    return prefilled(ops, model.decoder, settings, call, memory, memory_mask)


def prefilled(
    ops: Any, decoder: Any, settings: Settings, call: Call, memory: list[tuple[Array, Array]], memory_mask: Array | None
) -> State:
    """The state after the prompt was read; a start token alone is left to the loop where that is compiled."""
    count, prompt, mask = settings.hypotheses, call.prompt, call.prompt_mask
    batch, length = prompt.shape
    read = 0 if ops.FIXED_SHAPES and length == 1 and mask is None else length
    slots = read + (settings.room - read) * count
    cache = decoder.empty_cache(batch, slots, memory[0][0])
    logits = None
    if read:
        own = None if ops.is_single(length, mask) else decoder.causal_mask(length, 0, slots, mask, prompt)
        x, cache = decoder.step(prompt, decoder.prompted(prompt, slots), own, memory, memory_mask, cache, 0)
        logits = decoder.logits(ops.slot(x, settings.prompt - 1))
        logits = ops.broadcast(logits, (batch, count, logits.shape[-1]))
    return State(
        ids=ops.grown(prompt, count, settings.room, fill(settings), settings.prompt),
        length=settings.prompt,
        logits=logits,
        cache=cache,
        at=settings.prompt if read else 0,
        memory=memory,
        memory_mask=memory_mask,
        lineage=ops.lineage(prompt[:, :read], mask, count, slots),
        read=settings.prompt if read else 0,
        row=ops.arange(batch, prompt),
        done=ops.false(prompt[:, 0]) if call.live is None else ~call.live,
        search=None,
    )


def fill(settings: Settings) -> int:
    """What stands after the end. transformers' beam search puts the end token where the padding token is 0."""
    if settings.num_beams == 1:
        return settings.pad
    return (settings.pad or settings.eos[0]) if settings.eos else -1


def searched(ops: Any, model: Any, settings: Settings, call: Call, noise: Any, state: State) -> list[State]:
    """The finished states of the search that the settings name."""
    choose = chooser(ops, settings, noise, call.rule_ids)
    state = search.first_beams(ops, settings, state) if settings.num_beams > 1 else search.first_grown(ops, state)
    states: list[State] = ops.run(choose, partial(advance, ops, model), state)
    return states


def chooser(ops: Any, settings: Settings, noise: Any, rule_ids: Array | None) -> Callable[[State], State]:
    """The step of the search that the settings name: from a state with logits to the state one token longer."""
    warps = warpers(ops, settings) if settings.do_sample else []
    step = search.beam if settings.num_beams > 1 else search.grow

    def choose(now: State) -> State:
        rules = processors(ops, settings, None if rule_ids is None else ops.take_rows(rule_ids, now.row))
        return step(ops, settings, rules, warps, noise, now)

    return choose


def collected(ops: Any, settings: Settings, states: list[State]) -> tuple[Array, Array | None, Any]:
    """Sequences (B, R, L) in the order of the sources, scores (B, R) of beams, and the longest's length."""
    order = ops.inverse(ops.concat([s.row for s in states], 0))
    if settings.num_beams == 1:
        ids = ops.concat([s.ids for s in states], 0)
        return ops.take_rows(ids, order), None, ops.longest([s.length for s in states])
    best = slice(0, settings.num_return_sequences)
    ids = ops.concat([s.search.ended_ids[:, best] for s in states], 0)
    scores = ops.concat([s.search.ended_scores[:, best] for s in states], 0)
    lengths = [ops.greatest(s.search.ended_length[:, best]) for s in states]
    return ops.take_rows(ids, order), ops.take_rows(scores, order), ops.longest(lengths)


def flattened(ops: Any, ids: Array, longest: Any) -> Array:
    """(B, R, L) -> (B * R, the longest's length); all of L where that is not known yet, within a traced call."""
    return ops.merged(ids[..., :longest] if isinstance(longest, int) else ids)
