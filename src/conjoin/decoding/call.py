"""What one call of `generate` was given, checked against the model: the source, the prompt, and which rows are real."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from conjoin.decoding.callbacks import CALLBACKS
from conjoin.decoding.values import as_tuple, token_of
from conjoin.errors import InputError
from conjoin.generation import GenerationConfig
from conjoin.senses import SENSES, source_of
from conjoin.seq2seq.checks import fits, states_of

__all__ = ["ARGUMENTS", "ENCODER_INPUTS", "INPUTS", "Call", "called"]

Array = Any
ENCODER_INPUTS = ("token_type_ids", "position_ids", "inputs_embeds", "global_attention_mask")
INPUTS = (
    "inputs",
    "attention_mask",
    "encoder_outputs",
    "decoder_input_ids",
    "decoder_attention_mask",
    *ENCODER_INPUTS,
    *SENSES,
)

# What `generate` takes beside settings; the last two are the source that guidance leads away from.
ARGUMENTS = (
    *INPUTS,
    *CALLBACKS,
    "seed",
    "assistant_model",
    "assistant_tokenizer",
    "tokenizer",
    "vocabulary",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
)


@dataclass(frozen=True)
class Call:
    """Arrays of B rows, one a source. None is what was not given."""

    prompt: Array  # (B, P), the start token first
    prompt_mask: Array | None = None  # (B, P)
    input_ids: Array | None = None  # (B, S)
    rule_ids: Array | None = None  # (B, S) the same as rules see them
    inputs_embeds: Array | None = None  # (B, S, W)
    values: Array | None = None  # images or sounds, (B, ...)
    token_type_ids: Array | None = None  # (B, S)
    position_ids: Array | None = None  # (B, S)
    global_tokens: Array | None = None  # (B, G) their places, -1 where a row has fewer
    states: Array | None = None  # (B, S, W) where the source was encoded before
    seen: Array | None = None  # (B, S) which tokens of the source may be seen, None for all; of sounds (B, samples)
    against_ids: Array | None = None  # (B, S') the source that guidance leads away from
    against_seen: Array | None = None  # (B, S')
    stop_moves: Array | None = None  # the table of stop strings, which has no rows
    allowed: Array | None = None  # (B, V) which tokens each source may be written with, None for all
    live: Array | None = None  # (B,) False for rows that only fill the batch; None where there are none

    @property
    def source(self) -> Array:
        """Whatever the source came as."""
        return next(x for x in (self.input_ids, self.inputs_embeds, self.values, self.states) if x is not None)

    def arrays(self) -> dict[str, Array]:
        """What was given, by name: `Call(**arrays)` is the call again, within a program."""
        return {f.name: x for f in fields(self) if (x := getattr(self, f.name)) is not None}


def called(ops: Any, model: Any, input_ids: Array | None, inputs: Mapping[str, Any], config: GenerationConfig) -> Call:
    """A call as it was given, with its start tokens. Raises InputError for shapes that do not fit each other."""
    outputs, front = inputs.get("encoder_outputs"), model.encoder.spec.front
    ids, values = source_of(front, input_ids, inputs)
    states = None
    if outputs is not None:
        states, values = states_of(outputs), None
    elif front is not None and values is None:
        raise InputError(f"generate() needs {front.argument} or encoder_outputs.")
    elif front is None and ids is None and "inputs_embeds" not in inputs:
        raise InputError("generate() needs input_ids, inputs_embeds or encoder_outputs.")
    asked = {name: inputs.get(name) for name in ENCODER_INPUTS} if states is None else {}
    if values is not None:
        asked[front.argument] = values
    ids, mask, states, prompt, prompt_mask, *asked_arrays = ops.given(
        input_ids=ids,
        attention_mask=inputs.get("attention_mask"),
        encoder_outputs=states,
        decoder_input_ids=inputs.get("decoder_input_ids"),
        decoder_attention_mask=inputs.get("decoder_attention_mask"),
        **asked,
    )
    named = dict(zip(asked, asked_arrays, strict=True))
    if ids is not None and len(ids.shape) != 2:
        raise InputError(f"input_ids has shape {tuple(ids.shape)}; (batch, tokens) was expected.")
    if states is not None:
        check_states(states, ids)
    if values is not None:
        named = {"values": named.pop(front.argument), **named}
        model.encoder.check_values(named["values"], mask, **{name: named[name] for name in ENCODER_INPUTS})
    seen = model.encoder.source_mask(ids, mask)
    if states is not None:
        seen = model.encoder.memory_mask(seen, ops.size(states, 1))
    chosen = named.pop("global_attention_mask", None)
    if chosen is not None:
        like = ids if ids is not None else named["inputs_embeds"]
        named["global_tokens"] = model.encoder.global_places(chosen, seen, like)
    call = Call(prompt=ids, input_ids=ids, rule_ids=ids, states=states, seen=seen, **named)
    shape = call.source.shape
    if seen is not None and len(shape) > 1 and tuple(seen.shape) != tuple(shape[:2]):
        raise InputError(
            f"attention_mask has shape {tuple(seen.shape)}; {tuple(shape[:2])} was expected, as the source has."
        )
    prompt = start_of(ops, model, config, prompt, call.source)
    return replace(call, prompt=prompt, prompt_mask=mask_of(ops, prompt, prompt_mask))


def check_states(states: Array, ids: Array | None) -> None:
    """Raises InputError for encoder states that are no states, or of other rows than the ids."""
    if len(states.shape) != 3 or 0 in states.shape:
        raise InputError(
            f"encoder_outputs has states of shape {tuple(states.shape)}; (batch, tokens, width) was expected, none of them 0."
        )
    if ids is not None and not fits(tuple(ids.shape[:1]), tuple(states.shape[:1])):
        raise InputError(
            f"encoder_outputs has {states.shape[0]} rows and input_ids {ids.shape[0]}; as many were expected."
        )


def start_of(ops: Any, model: Any, config: GenerationConfig, prompt: Array | None, source: Array) -> Array:
    """The decoder's prompt (B, P): the start token, before what was given unless that begins with it."""
    batch = source.shape[0]
    start = config.decoder_start_token_id if config.decoder_start_token_id is not None else config.bos_token_id
    if start is None:
        model.start_token()  # says what to set
    if isinstance(start, list) and len(start) != batch:
        raise InputError(f"decoder_start_token_id has {len(start)} tokens for {batch} rows; one token, or one a row.")
    for one in as_tuple(start) if isinstance(start, int | float | str | list | tuple) else ():
        token_of("decoder_start_token_id", one, model.decoder.spec.vocab)
    first = ops.token_column(start, batch, source)
    if prompt is None:
        return first
    if len(prompt.shape) != 2:
        raise InputError(f"decoder_input_ids has shape {tuple(prompt.shape)}; (batch, tokens) was expected.")
    if prompt.shape[0] != batch:
        raise InputError(f"decoder_input_ids has {prompt.shape[0]} rows and the source {batch}.")
    return prompt if ops.equal_anywhere(prompt[:, :1], first) else ops.concat([first, prompt], 1)


def mask_of(ops: Any, prompt: Array, mask: Array | None) -> Array | None:
    """The prompt's mask (B, P), the start token that was put before it included."""
    batch, length = prompt.shape
    if mask is not None and mask.shape[1] == length - 1:
        mask = ops.concat([mask[:, :1] * 0 + 1, mask], 1)
    if mask is not None and tuple(mask.shape) != (batch, length):
        raise InputError(
            f"decoder_attention_mask has shape {tuple(mask.shape)}; {(batch, length)} was expected, as the prompt has."
        )
    return mask
