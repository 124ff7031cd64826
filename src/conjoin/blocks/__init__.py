"""The transformer, written once: `define(nn)` makes native modules of a framework out of a backend's leaf layers.

inputs.py     what a stack reads, and what a pass leaves behind
leaves.py     norms and linear layers as a spec has them
attention.py  multi-head attention
block.py      feed-forward; a layer
ends.py       embeddings and head
stack.py      all of it
"""

from collections.abc import Mapping
from typing import Any

from conjoin import attention as other_attention
from conjoin import convolution, fronts, grouped
from conjoin.blocks import attention, block, ends, stack
from conjoin.blocks.inputs import Cache, Inputs, Place, Sight, Trace

__all__ = ["Cache", "Inputs", "Place", "Sight", "Trace", "define"]


def define(nn: Any) -> Mapping[str, Any]:
    """The classes of a stack, Stack among them, native to the framework of the backend `nn`."""
    ordinary = attention.define(nn)
    kinds, senses = other_attention.define(nn, ordinary), fronts.define(nn)
    layers = grouped.define(nn), convolution.define(nn)
    feed_forward, layer = block.define(nn, ordinary, kinds, *layers)
    embed, head = ends.define(nn)
    whole = stack.define(nn, embed, layer, head, kinds, senses)
    found = (ordinary, *kinds.classes(), *layers, feed_forward, layer, embed, head, whole)
    return {one.__name__: one for one in found} | dict(senses)
