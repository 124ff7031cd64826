"""The transformer, written once: `define(nn)` makes native modules of a framework out of a backend's leaf layers.

Shapes: B batch, T tokens in, S tokens attended to, W width, H heads, D = W / H, V vocabulary. Masks are boolean, True
where a token may be seen, and broadcast to (B, H, T, S); None hides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conjoin.spec import StackSpec

__all__ = ["Trace", "define"]

Array = Any
Cache = tuple[Array, Array]  # keys and values, (B, H, slots, D) each


@dataclass
class Trace:
    """What a pass leaves behind for who asked: hidden states (embeddings first), attention weights (B, H, T, S)."""

    attentions: list[Array] | None = None
    cross_attentions: list[Array] | None = None
    hidden_states: list[Array] | None = None

    @classmethod
    def of(cls, *, attentions: bool, hidden_states: bool) -> "Trace | None":
        """A trace of what is asked for, or None where nothing is."""
        if not (attentions or hidden_states):
            return None
        return cls([] if attentions else None, [] if attentions else None, [] if hidden_states else None)


@dataclass
class Inputs:
    """What a stack reads, already in its own terms."""

    embeddings: Array  # (B, T, W)
    mask: Array | None = None
    memory: Array | Sequence[Cache] | None = None  # (B, S, W), or what each layer made of it
    memory_mask: Array | None = None
    cache: Sequence[Cache] | None = None
    at: Any = 0  # the cache slot of the first new token
    trace: Trace | None = field(default=None)


def define(nn: Any) -> Mapping[str, Any]:
    """The classes Attention, FeedForward, Block, Embed, Head and Stack, native to the framework of the backend `nn`."""

    class Attention(nn.Module):
        """Multi-head attention over its own input, or over `memory` where that is given."""

        def __init__(self, spec: StackSpec, scale: float) -> None:
            super().__init__()
            self.heads, self.scale = spec.heads, scale
            self.q = nn.Linear(spec.width, spec.width)
            self.k = nn.Linear(spec.width, spec.width)
            self.v = nn.Linear(spec.width, spec.width)
            self.o = nn.Linear(spec.width, spec.width)
            self.dropout = nn.Dropout(spec.attention_dropout)
            self.fused: Any = None  # one product for q, k and v, which an engine may put here

        def queries_keys_values(self, x: Array) -> tuple[Array, Array, Array]:
            """x (B, T, W) -> three of (B, H, T, D)."""
            if self.fused is None:
                return (nn.split_heads(self.q(x), self.heads), *self.keys_values(x))
            q, k, v = nn.split_joined_heads(self.fused(x), self.heads)
            return q, k, v

        def keys_values(self, memory: Array) -> Cache:
            """(B, S, W) -> keys and values (B, H, S, D)."""
            return nn.split_heads(self.k(memory), self.heads), nn.split_heads(self.v(memory), self.heads)

        def forward(
            self,
            x: Array,
            mask: Array | None,
            memory: Array | Cache | None = None,
            cache: Cache | None = None,
            at: Any = 0,
            weights: list[Array] | None = None,
        ) -> tuple[Array, Cache | None]:
            """x (B, T, W) -> (B, T, W), and the cache with T slots written from `at` on.

            `weights` is a list to which the attention weights (B, H, T, S) are added.
            """
            if memory is None:
                q, k, v = self.queries_keys_values(x)
            else:
                q = nn.split_heads(self.q(x), self.heads)
                k, v = memory if isinstance(memory, tuple) else self.keys_values(memory)
            if cache is not None:
                cache = nn.write(cache[0], k, at), nn.write(cache[1], v, at)
                k, v = nn.visible(cache[0], at, k), nn.visible(cache[1], at, v)
            y, seen = nn.attention(q, k, v, mask, self.scale, self.dropout, weights is not None)
            if weights is not None:
                weights.append(seen)
            return self.o(nn.merge_heads(y)), cache

    class FeedForward(nn.Module):
        """Up, activation, down."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.activation = nn.activation(spec.activation)
            self.up = nn.Linear(spec.width, spec.ffn)
            self.down = nn.Linear(spec.ffn, spec.width)
            self.dropout = nn.Dropout(spec.activation_dropout)

        def forward(self, x: Array) -> Array:
            return self.down(self.dropout(self.activation(self.up(x))))

    class Block(nn.Module):
        """Self-attention, cross-attention where the spec asks for it, feed-forward; each with its residual and norm."""

        def __init__(self, spec: StackSpec, number: int) -> None:
            super().__init__()
            scale = (spec.width // spec.heads) ** -0.5 if spec.scale_scores else 1.0
            if spec.scale_scores_by_layer:
                scale /= number + 1
            self.norm_first, self.has_cross = spec.norm_first, spec.cross
            self.attention = Attention(spec, scale)
            self.attention_norm = nn.LayerNorm(spec.width, spec.norm_eps)
            if spec.cross:
                self.cross = Attention(spec, scale)
                self.cross_norm = nn.LayerNorm(spec.width, spec.norm_eps)
            self.gate = nn.vector(1, trained=True) if spec.cross_gate else None
            self.ffn = FeedForward(spec)
            self.ffn_norm = nn.LayerNorm(spec.width, spec.norm_eps)
            self.dropout = nn.Dropout(spec.dropout)

        def before(self, norm: Any, x: Array) -> Array:
            """What a sublayer reads."""
            return norm(x) if self.norm_first else x

        def after(self, norm: Any, x: Array, y: Array) -> Array:
            """The residual, and the norm where it comes last."""
            x = x + self.dropout(y)
            return x if self.norm_first else norm(x)

        def forward(
            self,
            x: Array,
            mask: Array | None,
            memory: Array | Cache | None = None,
            memory_mask: Array | None = None,
            cache: Cache | None = None,
            at: Any = 0,
            trace: Trace | None = None,
        ) -> tuple[Array, Cache | None]:
            """x (B, T, W) -> (B, T, W) and the new cache."""
            own = None if trace is None else trace.attentions
            cross = None if trace is None else trace.cross_attentions
            y, cache = self.attention(self.before(self.attention_norm, x), mask, cache=cache, at=at, weights=own)
            x = self.after(self.attention_norm, x, y)
            if self.has_cross and memory is not None:
                y, _ = self.cross(self.before(self.cross_norm, x), memory_mask, memory=memory, weights=cross)
                crossed = self.after(self.cross_norm, x, y)
                x = crossed if self.gate is None else x + nn.tanh(self.gate) * (crossed - x)
            y = self.ffn(self.before(self.ffn_norm, x))
            return self.after(self.ffn_norm, x, y), cache

    class Embed(nn.Module):
        """Token, position and type embeddings, summed."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.scale, self.offset, self.pad, self.types = (
                spec.embed_scale,
                spec.position_offset,
                spec.position_pad,
                spec.types,
            )
            self.token = nn.Embedding(spec.vocab, spec.width)
            self.position = nn.Embedding(spec.positions, spec.width)
            if spec.types:
                self.segment = nn.Embedding(spec.types, spec.width)
            self.norm = nn.LayerNorm(spec.width, spec.norm_eps) if spec.embed_norm else None
            self.dropout = nn.Dropout(spec.embed_dropout)

        def rows(self, ids: Array | None, length: int, start: Any, like: Array) -> Array:
            """The rows of the position table for `length` tokens of which `start` came before: (1, T) or (B, T)."""
            if ids is None or self.pad is None:
                return nn.arange(length, like)[None] + (start + self.offset)
            real = ids != self.pad
            return nn.where(real, nn.cumsum(real) + start + (self.offset - 1), self.pad)

        def forward(
            self,
            ids: Array | None,
            start: Any = 0,
            positions: Array | None = None,
            types: Array | None = None,
            embeddings: Array | None = None,
            rows: Array | None = None,
        ) -> Array:
            """ids (B, T), or ready token embeddings (B, T, W) -> (B, T, W).

            `positions` counts as the family does; `rows` is of the table itself, as `rows()` gives it.
            """
            x: Any = embeddings if ids is None else nn.scaled(self.token(ids), self.scale)
            if positions is not None:
                rows = positions if self.pad is not None else positions + self.offset
            elif rows is None:
                rows = self.rows(ids, nn.size(x, 1), start, x if ids is None else ids)
            if self.types:
                x = x + (self.segment(types) if types is not None else nn.first_row(self.segment))
            x = x + self.position(rows)
            return self.dropout(x if self.norm is None else self.norm(x))

    class Head(nn.Module):
        """What stands between the last hidden state and the output embedding, and the bias after it."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.transforms = spec.head == "transform"
            if self.transforms:
                self.dense = nn.Linear(spec.width, spec.width)
                self.activation = nn.activation(spec.head_activation or spec.activation)
                self.norm = nn.LayerNorm(spec.width, spec.norm_eps)
            self.bias = nn.vector(spec.vocab, trained=spec.head_bias == "trained") if spec.head_bias != "none" else None

        def forward(self, x: Array) -> Array:
            return self.norm(self.activation(self.dense(x))) if self.transforms else x

    class Stack(nn.Module):
        """Embeddings, blocks and, for a decoder, a head."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.spec = spec
            self.recompute = False  # gradient checkpointing
            self.embed = Embed(spec)
            self.layers = nn.ModuleList([Block(spec, i) for i in range(spec.layers)])
            self.norm = nn.LayerNorm(spec.width, spec.norm_eps) if spec.final_norm else None
            self.head = Head(spec) if spec.head == "transform" or spec.head_bias != "none" else None
            self.output = nn.OutputEmbedding(spec.width, spec.vocab) if spec.head != "none" and not spec.tied else None

        def hidden(self, given: Inputs) -> tuple[Array, list[Cache] | None]:
            """The last hidden states (B, T, W), and the new cache where one was given."""
            x, written, trace = given.embeddings, [], given.trace
            keep = None if trace is None else trace.hidden_states
            for i, block in enumerate(self.layers):
                if keep is not None:
                    keep.append(x)
                memory = given.memory[i] if isinstance(given.memory, list) else given.memory
                if self.recompute and given.cache is None and trace is None:
                    x = nn.recomputed(block, x, given.mask, memory, given.memory_mask)
                    continue
                cache = None if given.cache is None else given.cache[i]
                x, cache = block(x, given.mask, memory, given.memory_mask, cache, given.at, trace)
                written.append(cache)
            if self.norm is not None:
                x = self.norm(x)
            if keep is not None:
                keep.append(x)
            return x, None if given.cache is None else written

        def remember(self, memory: Array) -> list[Cache]:
            """Each layer's cross-attention keys and values of memory (B, S, W): computed once per source."""
            return [block.cross.keys_values(memory) for block in self.layers]

        def logits(self, x: Array) -> Array:
            """Hidden states (..., W) -> logits (..., V)."""
            bias = None
            if self.head is not None:
                x, bias = self.head(x), self.head.bias
            return nn.unembed(self.embed.token if self.output is None else self.output, x, bias)

    return {c.__name__: c for c in (Attention, FeedForward, Block, Embed, Head, Stack)}
