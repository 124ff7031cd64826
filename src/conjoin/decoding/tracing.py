"""Attention weights and hidden states of each step, for who asked.

Rows come out as transformers has them, B * K of them, a source's hypotheses side by side; each hypothesis's attention is to its
own past only, which in the cache stands among that of its neighbours.
"""

from collections.abc import Callable
from typing import Any

from conjoin.blocks import Trace

__all__ = ["TRACED", "keep_trace", "own_past", "prompt_trace", "trace_for"]

Array = Any
TRACED = {"attentions": ("decoder_attentions", "cross_attentions"), "hidden_states": ("decoder_hidden_states",)}


def trace_for(record: dict[str, Any] | None) -> Trace | None:
    """A trace of what a record keeps of each pass."""
    if record is None:
        return None
    return Trace.of(attentions="decoder_attentions" in record, hidden_states="decoder_hidden_states" in record)


def prompt_trace(ops: Any, record: dict[str, Any], trace: Trace, batch: int, count: int) -> None:
    """Keeps what the pass over the prompt left behind, once for each of a source's hypotheses."""

    def each(x: Array) -> Array:
        return ops.repeated(x[:batch], count)

    keep(record, trace, each, each)


def keep_trace(
    ops: Any, record: dict[str, Any], trace: Trace, lineage: Array | None, read: int, shape: tuple[int, int]
) -> None:
    """Keeps what a pass over one token of each hypothesis, `shape` (B, K) of them, left behind."""
    batch, count = shape
    places = own_past(ops, lineage, read, count)

    def own(weights: Array) -> Array:
        weights = ops.swapped(weights[:batch])
        if places is not None:
            every_head = (*weights.shape[:3], places.shape[-1])
            weights = ops.take_last(weights, ops.broadcast(places[:, :, None], every_head))
        return ops.merged(weights)[:, :, None]

    def crossed(weights: Array) -> Array:
        return ops.merged(ops.swapped(weights[:batch]))[:, :, None]

    keep(record, trace, own, lambda x: ops.merged(x[:batch])[:, None], crossed)


def keep(
    record: dict[str, Any],
    trace: Trace,
    own: Callable[[Array], Array],
    hidden: Callable[[Array], Array],
    crossed: Callable[[Array], Array] | None = None,
) -> None:
    """Adds a pass to a record, each layer's arrays in their final shape."""
    for name, arrays, shaped in (
        ("decoder_attentions", trace.attentions, own),
        ("cross_attentions", trace.cross_attentions, crossed or own),
        ("decoder_hidden_states", trace.hidden_states, hidden),
    ):
        if arrays is not None:
            record[name].append(tuple(shaped(x) for x in arrays))


def own_past(ops: Any, lineage: Array | None, read: int, count: int) -> Array | None:
    """(B, K, T) the slots of each hypothesis's own past: the prompt's, padding included, and one a step. None for all."""
    if lineage is None or count == 1:
        return None
    prompt = ops.broadcast(ops.arange(read, lineage), (*lineage.shape[:2], read))
    return ops.concat([prompt, ops.places_of(lineage[..., read:]) + read], 2)
