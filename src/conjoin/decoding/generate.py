"""`generate`: from a model, source ids and settings to sequences; the one entry to all searches."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from conjoin.decoding import search
from conjoin.decoding.loop import run
from conjoin.decoding.rules import processors, warpers
from conjoin.decoding.settings import Settings, resolve
from conjoin.decoding.state import State, advance
from conjoin.errors import InputError, refuse_unknown
from conjoin.generation import GENERATION_FIELDS, GenerationConfig
from conjoin.outputs import GenerateOutput

__all__ = ["INPUTS", "begun", "generate"]

Array = Any
ENCODER_INPUTS = ("token_type_ids", "position_ids", "inputs_embeds")
INPUTS = ("inputs", "attention_mask", "encoder_outputs", "decoder_input_ids", "decoder_attention_mask", *ENCODER_INPUTS)


def generate(
    model: Any, input_ids: Array | None, generation_config: GenerationConfig | None, given: Mapping[str, Any]
) -> Array | GenerateOutput:
    """As `EncoderDecoderModel.generate` says."""
    refuse_unknown("generate()", given, [*INPUTS, "seed", "input_ids", "generation_config", *GENERATION_FIELDS])
    inputs = {name: given[name] for name in INPUTS if given.get(name) is not None}
    config = model.config.generation
    if generation_config is not None:
        config = config.updated(generation_config.to_dict())
    config = config.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
    if input_ids is None:
        input_ids = inputs.pop("inputs", None)
    ops = model.ops
    with ops.no_gradients(model) as ready:
        settings, state = begun(ops, ready, input_ids, config, inputs)
        noise = ops.noise(given.get("seed"), len(state.row), settings.hypotheses)
        finished = searched(ops, ready, settings, input_ids, noise, state)
        sequences, scores = collected(ops, settings, finished)
    sequences = ops.released(sequences)
    if not settings.as_dictionary:
        return sequences
    scores = ops.released(scores) if scores is not None and settings.output_scores else None
    return GenerateOutput.of(sequences=sequences, sequences_scores=scores)


def begun(
    ops: Any, model: Any, input_ids: Array | None, config: GenerationConfig, inputs: Mapping[str, Any]
) -> tuple[Settings, State]:
    """The settings of a call, checked against the model, and the state after source and prompt were read."""
    states, seen = encoded(model, input_ids, inputs)
    prompt = start_of(ops, model, config, inputs, states)
    spec = model.decoder.spec
    settings = resolve(config, prompt=prompt.shape[1], positions=spec.max_length, vocab=spec.vocab)
    return settings, prefilled(ops, model, settings, prompt, inputs.get("decoder_attention_mask"), states, seen)


def encoded(model: Any, input_ids: Array | None, inputs: Mapping[str, Any]) -> tuple[Array, Array | None]:
    """The source's states (B, S, W) in the decoder's width, and which of them may be seen (B, S); encoded once."""
    outputs, mask = inputs.get("encoder_outputs"), inputs.get("attention_mask")
    if outputs is None:
        if input_ids is None and "inputs_embeds" not in inputs:
            raise InputError("generate() needs input_ids, inputs_embeds or encoder_outputs.")
        asked = {name: inputs[name] for name in ENCODER_INPUTS if name in inputs}
        outputs = model.encoder(input_ids=input_ids, attention_mask=mask, **asked)
    states = outputs[0] if isinstance(outputs, tuple) else outputs["last_hidden_state"]
    seen = model.encoder.source_mask(input_ids, mask)
    if seen is not None and tuple(seen.shape) != tuple(states.shape[:2]):
        raise InputError(
            f"attention_mask has shape {tuple(seen.shape)}; {tuple(states.shape[:2])} was expected, as the source has."
        )
    return model.memory(states), seen


def start_of(ops: Any, model: Any, config: GenerationConfig, inputs: Mapping[str, Any], states: Array) -> Array:
    """The decoder's prompt (B, P): the start token, before what was given unless that begins with it."""
    batch = states.shape[0]
    start = config.decoder_start_token_id if config.decoder_start_token_id is not None else config.bos_token_id
    if start is None:
        model.start_token()  # says what to set
    if isinstance(start, list) and len(start) != batch:
        raise InputError(f"decoder_start_token_id has {len(start)} tokens for {batch} rows; one token, or one a row.")
    first = ops.token_column(start, batch, states)
    prompt = inputs.get("decoder_input_ids")
    if prompt is None:
        return first
    if prompt.shape[0] != batch:
        raise InputError(f"decoder_input_ids has {prompt.shape[0]} rows and the source {batch}.")
    return prompt if ops.equal_anywhere(prompt[:, :1], first) else ops.concat([first, prompt], 1)


def prefilled(
    ops: Any, model: Any, settings: Settings, prompt: Array, mask: Array | None, states: Array, seen: Array | None
) -> State:
    """The state after the prompt was read once for all hypotheses."""
    decoder, count = model.decoder, settings.hypotheses
    batch, length = prompt.shape
    slots = length + (settings.max_length - length) * count
    if mask is not None and mask.shape[1] == length - 1:  # the start token was put before the prompt
        mask = ops.concat([mask[:, :1] * 0 + 1, mask], 1)
    if mask is not None and tuple(mask.shape) != (batch, length):
        raise InputError(
            f"decoder_attention_mask has shape {tuple(mask.shape)}; {(batch, length)} was expected, as the prompt has."
        )
    ops.check_range(prompt, decoder.spec.vocab, "decoder")
    memory = decoder.remember(states)
    memory_mask = None if seen is None or ops.all_seen(seen) else seen[:, None, None, :]
    cache = decoder.empty_cache(batch, slots, states)
    own = decoder.causal_mask(length, 0, slots, mask, prompt)
    x, cache = decoder.step(prompt, 0, None if ops.is_single(length, mask) else own, memory, memory_mask, cache, 0)
    logits = decoder.logits(x[:, -1:])
    return State(
        ids=ops.grown(prompt, count, settings.max_length, fill(settings)),
        length=length,
        logits=ops.broadcast(logits, (batch, count, logits.shape[-1])),
        cache=cache,
        at=length,
        memory=memory,
        memory_mask=memory_mask,
        lineage=ops.lineage(prompt, mask, count, slots),
        row=ops.arange(batch, prompt),
        done=ops.false(prompt[:, 0]),
        search=None,
    )


def fill(settings: Settings) -> int:
    """What stands after the end. transformers' beam search puts the end token where the padding token is 0."""
    if settings.num_beams == 1:
        return settings.pad
    return (settings.pad or settings.eos[0]) if settings.eos else -1


def searched(ops: Any, model: Any, settings: Settings, source: Array | None, noise: Any, state: State) -> list[State]:
    """The finished states of the search that the settings name."""
    by_beams = settings.num_beams > 1
    warps = warpers(ops, settings) if settings.do_sample else []
    step = search.beam if by_beams else search.grow

    def choose(now: State) -> State:
        rules = processors(ops, settings, None if source is None else ops.take_rows(source, now.row))
        return step(ops, settings, rules, warps, noise, now)

    state = search.first_beams(ops, settings, state) if by_beams else search.first_grown(ops, state)
    return run(ops, choose, partial(advance, ops, model), state)


def collected(ops: Any, settings: Settings, states: list[State]) -> tuple[Array, Array | None]:
    """Sequences (N, T) in the order of the sources, cut to the longest; and for beams their scores (N,)."""
    beams = settings.num_beams > 1
    order = ops.inverse(ops.concat([s.row for s in states], 0))
    returned = settings.num_return_sequences
    if beams:
        ids = ops.concat([s.search.ended_ids[:, :returned] for s in states], 0)
        longest = max(int(s.search.ended_length[:, :returned].max()) for s in states)
        scores = ops.take_rows(ops.concat([s.search.ended_scores[:, :returned] for s in states], 0), order)
    else:
        ids = ops.concat([s.ids for s in states], 0)
        longest, scores = max(int(s.length) for s in states), None
    ids = ops.take_rows(ids, order)[..., :longest]
    return ids.reshape(-1, longest), None if scores is None else scores.reshape(-1)
