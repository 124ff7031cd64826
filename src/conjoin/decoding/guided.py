"""Classifier-free guidance of an encoder-decoder: each step is read under two sources, the call's and one to lead away from.

The second stands as B rows more in memory and cache behind the first; its hypotheses are the first one's. What transformers
does for language models, where the second reads the last token of the prompt alone, has no counterpart with a source.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conjoin.decoding.call import Call
from conjoin.decoding.settings import Settings
from conjoin.errors import InputError

__all__ = ["beside", "twice", "with_negative"]

Array = Any


def with_negative(model: Any, settings: Settings, call: Call, given: Mapping[str, Any]) -> Call:
    """The call with its negative source, by default an empty text. Raises InputError where there can be none."""
    ids, mask = given.get("negative_prompt_ids"), given.get("negative_prompt_attention_mask")
    if settings.guidance_scale == 1.0:
        if ids is not None or mask is not None:
            raise InputError(
                "negative_prompt_ids were given, and guidance_scale is 1; give one above 1 to lead away from them."
            )
        return call
    ops, encoder, batch = model.ops, model.encoder, call.source.shape[0]
    if encoder.spec.front is not None or encoder.spec.layers == 0:
        raise InputError("guidance_scale needs a second source of text, and this encoder reads no text of ours.")
    if ids is None:
        ids, mask = empty_text(model), None
    ids, mask = ops.given(negative_prompt_ids=ids, negative_prompt_attention_mask=mask)
    if ids.shape[0] not in (1, batch):
        raise InputError(f"negative_prompt_ids has {ids.shape[0]} rows and the source {batch}; one row, or as many.")
    encoder.check_inputs(ids, mask, None, None)
    seen = encoder.source_mask(ids, mask)
    if seen is None:
        seen = ops.arange(ids.shape[1], ids)[None] >= ops.zeros(ids.shape, ids)
    shape = (batch, ids.shape[1])
    return replace(call, against_ids=ops.broadcast(ids, shape), against_seen=ops.broadcast(seen, shape))


def empty_text(model: Any) -> Array:
    """The ids (1, S) of an empty text."""
    import numpy as np

    tokenizer = model.encoder.tokenizer
    ids = [] if tokenizer is None else tokenizer("")["input_ids"]
    if not ids:
        raise InputError(
            "guidance_scale needs negative_prompt_ids, a source to lead away from: the model came without a source "
            "tokenizer, or an empty text has no tokens."
        )
    return model.ops.on_device(np.array([ids], dtype=np.int64), model)


def twice(ops: Any, x: Array | None) -> Array | None:
    """x (B, ...) two times (2 * B, ...)."""
    return None if x is None else ops.concat([x, x], 0)


def beside(
    ops: Any,
    memory: list[tuple[Array, Array]],
    mask: Array | None,
    other: list[tuple[Array, Array]],
    other_mask: Array | None,
) -> tuple[list[tuple[Array, Array]], Array | None]:
    """Two sources' keys and values (B, H, S, D) and masks (B, 1, 1, S), the second behind the first, the shorter padded."""
    lengths = memory[0][0].shape[2], other[0][0].shape[2]
    longest = max(lengths)

    def joined(x: Array, y: Array, axis: int) -> Array:
        return ops.concat([lengthened(ops, x, axis, longest), lengthened(ops, y, axis, longest)], 0)

    both = [(joined(k, k2, 2), joined(v, v2, 2)) for (k, v), (k2, v2) in zip(memory, other, strict=True)]
    if mask is None and other_mask is None and lengths[0] == lengths[1]:
        return both, None
    batch = memory[0][0].shape[0]
    masks = [
        ops.broadcast(ops.arange(length, memory[0][0])[None, None, None] >= 0, (batch, 1, 1, length))
        if one is None
        else one
        for one, length in zip((mask, other_mask), lengths, strict=True)
    ]
    return both, joined(masks[0], masks[1], 3)


def lengthened(ops: Any, x: Array, axis: int, length: int) -> Array:
    """x with zeros after its end along an axis, up to a length."""
    missing = length - x.shape[axis]
    if not missing:
        return x
    shape = [missing if i == axis else size for i, size in enumerate(x.shape)]
    return ops.concat([x, ops.zeros(shape, x)], axis)
