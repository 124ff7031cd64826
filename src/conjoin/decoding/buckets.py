"""Calls padded to few shapes, for frameworks that compile a program for each: other lengths then need no other program."""

from dataclasses import replace
from typing import Any

from conjoin.decoding.call import Call
from conjoin.decoding.settings import Settings
from conjoin.inputs import bucket

__all__ = ["bucketed"]

Array = Any
NOBODY = -1  # an id that is no token's, so that no rule sees it


def bucketed(ops: Any, model: Any, settings: Settings, call: Call) -> tuple[Settings, Call]:
    """The call with rows, source and prompt padded, and room for a padded output; as it is where shapes may change."""
    if not ops.FIXED_SHAPES or ops.is_traced(call.source):
        return settings, call
    reads = call.states is None and call.values is None
    if reads:
        in_chunks = settings.chunks is not None
        model.encoder.check_inputs(call.input_ids, call.seen, call.token_type_ids, call.inputs_embeds, in_chunks)
    call = ops.on_host(call)
    decoder = model.decoder.spec
    rows, source = call.source.shape[:2]
    limit = model.encoder.spec.max_length if reads else None
    prompt = call.prompt.shape[1]
    fixed = call.values is not None and not can_grow(ops, model.encoder.spec.front, call.seen)
    exact = reads and model.encoder.spec.padding_counts
    shape = Shape(
        ops,
        rows=bucket(rows, least=1),
        source=None if fixed else source if exact else bucket(source, limit),
        prompt=prompt if prompt == 1 else bucket(prompt, decoder.max_length, least=4),
        against=None if call.against_ids is None else bucket(call.against_ids.shape[1], limit),
        chosen=0 if call.global_tokens is None else bucket(call.global_tokens.shape[1], least=1),
    )
    new = settings.max_length - prompt
    room = shape.prompt + bucket(new, decoder.max_length + 1 - prompt)
    return replace(settings, room=room), shape.of(call, model.encoder.config.pad_token_id or 0)


def can_grow(ops: Any, front: Any, seen: Array | None) -> bool:
    """Whether padding changes nothing of images or sounds: also a sound too short for a frame is read by its padding."""
    return bool(front.grows) and (seen is None or ops.all_seen(front.frames(ops.cumsum(seen)[:, -1:]) >= 1))


class Shape:
    """How many rows, and tokens of each kind, a padded call has; None for sources that cannot be padded."""

    def __init__(
        self, ops: Any, *, rows: int, source: int | None, prompt: int, against: int | None, chosen: int
    ) -> None:
        self.ops, self.rows, self.source, self.prompt = ops, rows, source, prompt
        self.against, self.chosen = against, chosen

    def of(self, call: Call, pad: int) -> Call:
        """A call in this shape: what is added is hidden, and rows that are added are the first one again."""
        ops, (batch, length) = self.ops, call.source.shape[:2]
        seen = call.seen
        if seen is None and self.source is not None:
            seen = ops.broadcast(ops.arange(length, call.source)[None] >= 0, (batch, length))
        prompt, mask = call.prompt, call.prompt_mask
        if mask is None and self.prompt > prompt.shape[1]:
            mask = ops.zeros(prompt.shape, prompt) + 1
        rule_ids = call.input_ids
        return Call(
            prompt=self.grown(prompt, self.prompt, 0),
            prompt_mask=self.grown(mask, self.prompt, 0),
            input_ids=self.grown(call.input_ids, self.source, pad),
            rule_ids=self.grown(rule_ids, self.source, NOBODY),
            inputs_embeds=self.grown(call.inputs_embeds, self.source, 0),
            token_type_ids=self.grown(call.token_type_ids, self.source, 0),
            position_ids=self.grown(call.position_ids, self.source, 0),
            values=self.grown(call.values, self.source, 0),
            global_tokens=self.grown(call.global_tokens, self.chosen, NOBODY),
            states=self.grown(call.states, self.source, 0),
            seen=self.grown(seen, self.source, 0),
            against_ids=self.grown(call.against_ids, self.against, pad),
            against_seen=self.grown(call.against_seen, self.against, 0),
            stop_moves=call.stop_moves,
            live=ops.arange(self.rows, call.source) < batch,
        )

    def grown(self, x: Array | None, length: int | None, value: float) -> Array | None:
        """An array with its second axis padded, and the first row repeated after the last."""
        if x is None:
            return None
        x = x if length is None else self.ops.padded(x, 1, length, value)
        more = self.rows - x.shape[0]
        return x if more == 0 else self.ops.concat([x, *[x[:1]] * more], 0)
