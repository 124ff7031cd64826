"""Self-attention of other kinds than blocks/'s: a small file each, written once over a backend `nn`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from conjoin.attention import block_sparse, disentangled, key_distances, local, ngram, sliding, span_convolution
from conjoin.spec import BlockSparse, Disentangled, KeyDistances, Local, NGram, Sliding, SpanConvolution

__all__ = ["Kinds", "define"]


class Kinds(NamedTuple):
    """Classes by the fact that asks for them."""

    layers: Mapping[type, Any]  # of a layer's attention, made from (spec, scale, number of the layer)
    stacks: Mapping[type, Any]  # of what a stack does once for all its layers, made from (spec)

    def layer(self, fact: object) -> Any:
        """The class of a layer's attention; None where it is the ordinary one."""
        return self.layers.get(type(fact))

    def shared(self, fact: object) -> Any:
        """The class of what a stack has for it; None for nothing."""
        return self.stacks.get(type(fact))

    def classes(self) -> list[Any]:
        """All of them."""
        return [*self.layers.values(), *self.stacks.values()]


def define(nn: Any, ordinary: Any) -> Kinds:
    """The classes, native to the framework of the backend `nn`; `ordinary` is its class of plain attention."""
    disentangled_layer, places = disentangled.define(nn, ordinary)
    sliding_layer, view = sliding.define(nn, ordinary)
    sparse_layer, blocks = block_sparse.define(nn, ordinary)
    distant_layer, distances = key_distances.define(nn, ordinary)
    local_layer, surroundings = local.define(nn, ordinary)
    ngram_layer, streams = ngram.define(nn, ordinary)
    return Kinds(
        layers={
            BlockSparse: sparse_layer,
            Disentangled: disentangled_layer,
            KeyDistances: distant_layer,
            Local: local_layer,
            NGram: ngram_layer,
            Sliding: sliding_layer,
            SpanConvolution: span_convolution.define(nn),
        },
        stacks={
            BlockSparse: blocks,
            Disentangled: places,
            KeyDistances: distances,
            Local: surroundings,
            NGram: streams,
            Sliding: view,
        },
    )
