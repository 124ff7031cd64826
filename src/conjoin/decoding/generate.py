"""`generate`: from a model, source ids and settings to sequences; the one entry to all searches."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from conjoin.chunks import asked_chunks, encoded_in_chunks
from conjoin.decoding.asked import warn_ignored, with_hooks, with_stop_strings, without_habits
from conjoin.decoding.buckets import bucketed
from conjoin.decoding.budget import check_budget
from conjoin.decoding.call import ARGUMENTS, INPUTS, Call, called
from conjoin.decoding.drafting import with_drafts
from conjoin.decoding.guided import beside, twice, with_negative
from conjoin.decoding.modes import checked, constraints_met
from conjoin.decoding.recording import begun_record, found_outputs, generated, noted
from conjoin.decoding.rules import Rule, finishers, processors, warpers
from conjoin.decoding.search import Rules, search_of
from conjoin.decoding.search.steps import forbid_alone
from conjoin.decoding.settings import Settings
from conjoin.decoding.shortlist import with_vocabulary
from conjoin.decoding.state import State, advance, halves
from conjoin.decoding.telling import telling
from conjoin.decoding.tracing import prompt_trace, trace_for
from conjoin.errors import refuse_unknown
from conjoin.generation import GENERATION_FIELDS, GenerationConfig
from conjoin.outputs import GenerateOutput

__all__ = ["begun", "chooser", "encoded", "generate", "resolved", "rules_of"]

Array = Any


def generate(
    model: Any, input_ids: Array | None, generation_config: GenerationConfig | None, given: Mapping[str, Any]
) -> Array | GenerateOutput:
    """As `EncoderDecoderModel.generate` says."""
    input_ids, given = model.read_first(input_ids, without_habits(given))
    refuse_unknown("generate()", given, [*ARGUMENTS, "input_ids", "generation_config", *GENERATION_FIELDS])
    config = model.config.generation
    if generation_config is not None:
        config = config.updated(GenerationConfig.of(generation_config).to_dict())
    config = config.updated({k: v for k, v in given.items() if k in GENERATION_FIELDS})
    searcher, input_ids, given = model.searcher(config, input_ids, given)
    return model.returned(made(searcher, input_ids, config, given))  # type: ignore[no-any-return]


def made(
    model: Any, input_ids: Array | None, config: GenerationConfig, given: Mapping[str, Any]
) -> Array | GenerateOutput:
    """What a model makes of a call, in arrays of its own."""
    ops = model.ops
    settings, call = resolved(model, input_ids, config, given)
    warn_ignored(settings, given)
    rows = call.source.shape[0]
    settings, call = bucketed(ops, model, settings, call)
    noise = ops.noise(given.get("seed"), call.source.shape[0], settings.hypotheses)
    found = ops.executed(decoded, model, settings, call, noise)
    sequences = flattened(ops, found["ids"][:rows], found["longest"])
    if settings.constraints and isinstance(found["longest"], int):
        found["constraints_met"] = constraints_met(ops, settings, sequences)
    return generated(ops, settings, rows, sequences, found, given) if settings.as_dictionary else sequences


def resolved(
    model: Any, input_ids: Array | None, config: GenerationConfig, given: Mapping[str, Any]
) -> tuple[Settings, Call]:
    """The settings of a call and what it was given, both checked against the model."""
    inputs = {name: given[name] for name in INPUTS if given.get(name) is not None}
    call = called(model.ops, model, inputs.pop("inputs", None) if input_ids is None else input_ids, inputs, config)
    settings = checked(config, call.prompt.shape[1], model.decoder.spec)
    model.ops.check_range(call.prompt, model.decoder.spec.vocab, "decoder")
    if call.states is None and call.inputs_embeds is None and call.position_ids is None:
        settings = replace(settings, chunks=asked_chunks(model.encoder, config))
    settings = with_drafts(model, with_hooks(model, settings, config, given), call, given)
    check_budget(model, settings, call)
    settings, call = with_stop_strings(model, settings, call, given.get("tokenizer"))
    call = with_vocabulary(model, settings, call, given.get("vocabulary"))
    return settings, with_negative(model, settings, call, given)


def decoded(ops: Any, model: Any, settings: Settings, noise: Any, arrays: dict[str, Array]) -> dict[str, Any]:
    """Everything that runs on a device: what `collected` gives."""
    call = Call(**arrays)
    if settings.drafts:
        return ops.speculated(model, settings, call, noise)  # type: ignore[no-any-return]
    return collected(ops, settings, searched(ops, model, settings, call, noise, begun(ops, model, settings, call)))


def begun(ops: Any, model: Any, settings: Settings, call: Call, *, start_waits: bool = False) -> State:
    """The state after source and prompt were read, the source encoded once and the prompt read once for all hypotheses.

    With `start_waits` a start token alone is left to the first step of the loop, as it is where the framework compiles.
    """
    memory, memory_mask, record = remembered(ops, model, settings, call)
    if call.against_ids is not None:
        other = Call(prompt=call.prompt, input_ids=call.against_ids, seen=call.against_seen)
        plain = replace(settings, chunks=None, outputs=frozenset())
        memory, memory_mask = beside(ops, memory, memory_mask, *remembered(ops, model, plain, other)[:2])
    waits = start_waits or ops.FIXED_SHAPES
    state = prefilled(ops, model.decoder, settings, call, memory, memory_mask, waits)
    return replace(state, record={**(state.record or {}), **record} or None)


def remembered(
    ops: Any, model: Any, settings: Settings, call: Call
) -> tuple[list[tuple[Array, Array]], Array | None, dict[str, Any]]:
    """The keys and values of the source, its mask, and what the encoder leaves behind for who asked."""
    states, seen, record = encoded(ops, model, settings, call)
    memory = model.decoder.remember(model.memory(states))
    return memory, None if seen is None or ops.all_seen(seen) else seen[:, None, None, :], record


def encoded(ops: Any, model: Any, settings: Settings, call: Call) -> tuple[Array, Array | None, dict[str, Any]]:
    """The encoder's states (B, S, W) of the source, which of them may be seen, and what it leaves behind for who asked."""
    states, seen, record = call.states, call.seen, {}
    if states is None and settings.chunks is not None:
        chunked = encoded_in_chunks(ops, model.encoder, settings.chunks, call.input_ids, seen, call.token_type_ids)
        states = chunked["last_hidden_state"]
    if states is None:
        names = ("input_ids", "token_type_ids", "position_ids", "inputs_embeds", "global_tokens")
        inputs = {name: getattr(call, name) for name in names}
        if call.values is not None:
            inputs[model.encoder.spec.front.argument] = call.values
        for name in ("attentions", "hidden_states"):
            if name in settings.outputs:
                inputs[f"output_{name}"] = True
        out = model.encoder(attention_mask=seen, **inputs)
        states, seen = out["last_hidden_state"], model.encoder.memory_mask(seen, ops.size(out["last_hidden_state"], 1))
        record = {f"encoder_{n}": out[n] for n in ("attentions", "hidden_states") if n in settings.outputs and n in out}
    return states, seen, record


def prefilled(
    ops: Any,
    decoder: Any,
    settings: Settings,
    call: Call,
    memory: list[tuple[Array, Array]],
    memory_mask: Array | None,
    start_waits: bool,
) -> State:
    """The state after the prompt was read; a start token alone is left to the loop where `start_waits`.

    Contrastive search compares what it says with the prompt, so that it is read first.
    """
    count, prompt, mask = settings.hypotheses, call.prompt, call.prompt_mask
    batch, length = prompt.shape
    guided = call.against_ids is not None
    later = start_waits and length == 1 and mask is None and settings.search != "contrastive"
    read = 0 if later else length
    slots = read + (settings.room - read) * count
    cache = decoder.empty_cache(batch * 2 if guided else batch, slots, memory[0][0])
    kept = 1 if settings.search == "contrastive" else count
    record = begun_record(ops, settings, (batch, kept, decoder.spec.vocab), memory[0][0])
    logits = against = hidden = allowed = shortlist = None
    if call.allowed is not None:
        shortlist, allowed = ops.shortened(decoder, call.allowed)
    if read:
        fed, fed_mask = (twice(ops, prompt), twice(ops, mask)) if guided else (prompt, mask)
        own = None if ops.is_single(length, mask) else decoder.causal_mask(length, 0, slots, fed_mask, fed)
        trace = trace_for(record)
        hidden, cache = decoder.step(fed, decoder.prompted(fed, slots), own, memory, memory_mask, cache, 0, trace)
        if trace is not None and record is not None:
            prompt_trace(ops, record, trace, batch, count)
        last = ops.slot(hidden, settings.prompt - 1)
        logits = decoder.logits(last) if shortlist is None else shortlist(last, allowed)
        logits, against = halves(logits, batch, guided)
        shape = (batch, count, logits.shape[-1])
        logits, against = ops.broadcast(logits, shape), ops.broadcast(against, shape) if guided else None
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
        hidden=None if hidden is None else hidden[:batch],
        against=against,
        stands=ops.arange(batch, prompt) if decoder.finds_rows and not guided and not settings.whole else None,
        guided=guided,
        stop_moves=call.stop_moves,
        allowed=allowed,
        shortlist=shortlist,
        record=record,
        padding=None if mask is None or settings.repetition_penalty == 1.0 else padding_before(ops, mask),
        whole=settings.whole,
    )


def padding_before(ops: Any, mask: Array) -> Array:
    """How many tokens before the first that is seen, of masks (B, P): (B,)."""
    return ops.total(ops.cumsum(ops.flags(mask)) == 0)


def fill(settings: Settings) -> int:
    """What stands after the end. transformers' beam search puts the end token where the padding token is 0."""
    if settings.search != "beams":
        return settings.pad
    return (settings.pad or settings.eos[0]) if settings.eos else -1


def searched(ops: Any, model: Any, settings: Settings, call: Call, noise: Any, state: State) -> list[State]:
    """The finished states of the search that the settings name."""
    choose = chooser(ops, settings, noise, call.rule_ids)
    state = search_of(settings).first(ops, settings, state)
    if finds_alone(ops, settings, model.decoder, call.rule_ids, state):
        state = replace(state, finder=model.decoder)
    if settings.callbacks.streamer is not None:
        choose = telling(ops, settings, settings.callbacks.streamer, state, choose)
    states: list[State] = ops.run(ops, choose, partial(advance, ops, model), state)
    return states


def finds_alone(ops: Any, settings: Settings, decoder: Any, rule_ids: Array | None, state: State) -> bool:
    """Whether nothing but the best tokens of a step is asked for, and the decoder finds them without logits."""
    plain = settings.search == "beams" and not settings.do_sample and state.record is None and state.shortlist is None
    if not plain or not decoder.finds_best or state.guided or not ops.chooses(state.logits, settings.kept):
        return False
    return forbid_alone(rules_of(ops, settings, rule_ids, state, [], [])[0](state))


def chooser(ops: Any, settings: Settings, noise: Any, rule_ids: Array | None) -> Callable[[State], State]:
    """The step of the search that the settings name: from a state with logits to the state one token longer."""
    step = search_of(settings).step

    def choose(now: State) -> State:
        scores: list[Array] = []
        logits: list[Array] = []
        rules, warps = rules_of(ops, settings, rule_ids, now, scores, logits)
        then = step(ops, settings, rules, warps, noise, replace(now, scores=scores))
        # Contrastive search reads several candidates and makes logits of one.
        read = replace(now, logits=logits[0]) if settings.search == "contrastive" and logits else now
        return noted(ops, settings, read, replace(then, scores=None), scores)

    return choose


def rules_of(
    ops: Any, settings: Settings, rule_ids: Array | None, now: State, scores: list[Array], logits: list[Array]
) -> tuple[Rules, Rules]:
    """The rules of a step, and those before a token is drawn; where steps are recorded, with a look at what comes of them."""
    source = None if rule_ids is None else ops.take_rows(rule_ids, now.row)
    settings = settings.with_lengths_for_rules() if now.apart else settings
    last = finishers(ops, settings)
    finish = [*last, seen_by(scores)] if now.record is not None else last
    first = [seen_by(logits)] if now.record is not None else []

    def rules(part: State) -> list[Rule]:
        always = [*first, *processors(ops, settings, source, part.against, part.padding)]
        return always if settings.do_sample else [*always, *finish]

    def warps(part: State) -> list[Rule]:
        return [*warpers(ops, settings), *finish] if settings.do_sample else []

    return rules, warps


def seen_by(scores: list[Array]) -> Rule:
    """A rule that changes nothing, and adds what it sees to a list."""

    def rule(ids: Array, length: Any, now: Array) -> Array:
        scores.append(now)
        return now

    return rule


def collected(ops: Any, settings: Settings, states: list[State]) -> dict[str, Any]:
    """Sequences "ids" (B, R, L) in the order of the sources, the "longest"'s length, how many "steps" were taken, what
    beams have beside ("sequences_scores", "beam_indices"), and what was recorded."""
    order = ops.inverse(ops.concat([s.row for s in states], 0))
    results = [search_of(settings).result(ops, settings, s) for s in states]
    steps = results[-1][1] if settings.num_beams == 1 else states[-1].length
    found = found_outputs(ops, settings, states[-1]) | {"steps": steps - settings.prompt}
    for name in results[0][0]:
        found[name] = ops.take_rows(ops.concat([arrays[name] for arrays, _ in results], 0), order)
    return found | {"longest": ops.longest([length for _, length in results])}


def flattened(ops: Any, ids: Array, longest: Any) -> Array:
    """(B, R, L) -> (B * R, the longest's length); all of L where that is not known yet, within a traced call."""
    return ops.merged(ids[..., :longest] if isinstance(longest, int) else ids)
