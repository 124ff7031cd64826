"""The transformer, written once: `define(nn)` makes native modules of a framework out of a backend's leaf layers.

Shapes: B batch, T tokens in, S tokens attended to, W width, H heads, D a head's width, V vocabulary. Masks are boolean,
True where a token may be seen, and broadcast to (B, H, T, S); None hides nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from conjoin import attention, convolution, fronts, grouped
from conjoin.grids import stretched_window, window_places
from conjoin.positions import distance_buckets, sinusoids, slopes
from conjoin.spec import NGram, StackSpec

__all__ = ["Inputs", "Place", "Sight", "Trace", "define"]

Array = Any
Cache = tuple[Array, Array]  # keys and values, (B, heads of keys, slots, D) each


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


class Place(NamedTuple):
    """Where tokens stand; each (1 or B, T)."""

    rows: Array | None  # of the position table
    positions: Array  # as rotary positions count
    order: tuple[Array, Array] | None  # the tokens' places, and those of what they attend to (1, S)
    grid: tuple[int, int] | None = None  # of the patches of an image


class Sight(NamedTuple):
    """What a layer's attention may see, and how it tells places apart."""

    mask: Array | None
    bias: Array | None = None  # (1, H, T, S), added to the scores
    turn: tuple[Array, Array] | None = None  # cosines and sines (1 or B, 1, T, pairs) for queries and keys
    own: Any = None  # what attention of another kind makes of the whole stack's input, once


@dataclass
class Inputs:
    """What a stack reads, already in its own terms."""

    embeddings: Array  # (B, T, W)
    place: Place
    mask: Array | None = None
    memory: Array | Sequence[Cache] | None = None  # (B, S, W), or what each layer with cross-attention made of it
    memory_mask: Array | None = None
    cache: Sequence[Cache] | None = None
    at: Any = 0  # the cache slot of the first new token
    trace: Trace | None = field(default=None)
    global_tokens: Array | None = None  # (B, G) where tokens stand that all see, and that see all; -1 for none


def define(nn: Any) -> Mapping[str, Any]:
    """The classes Attention, FeedForward, Block, Embed, Head and Stack, native to the framework of the backend `nn`."""
    senses = fronts.define(nn)

    def norm_of(spec: StackSpec, width: int) -> Any:
        if spec.norm == "rms":
            return nn.RMSNorm(width, spec.norm_eps, spec.norm_offset)
        return nn.LayerNorm(width, spec.norm_eps, spec.norm_bias)

    def linear(spec: StackSpec, name: str, inputs: int, outputs: int) -> Any:
        return nn.Linear(inputs, outputs, name in spec.biases)

    class Attention(nn.Module):
        """Multi-head attention over its own input, or over `memory` where that is given."""

        def __init__(self, spec: StackSpec, scale: float, read: int) -> None:
            super().__init__()
            self.heads, self.key_heads, self.scale, self.cap = spec.heads, spec.key_heads, scale, spec.score_cap
            self.interleaved = any(one is not None and one.interleaved for one in spec.rotary)
            self.turns_values = spec.rotary_values
            queries, keys = spec.heads * spec.head_dim, spec.key_heads * spec.head_dim
            self.q = linear(spec, "q", spec.width, queries)
            self.k = linear(spec, "k", read, keys)
            self.v = linear(spec, "v", read, keys)
            self.o = linear(spec, "o", queries, spec.width)
            normed, self.wide = spec.query_key_norm, spec.query_key_norm_wide
            wide_q, wide_k = (queries, keys) if self.wide else (spec.head_dim, spec.head_dim)
            self.q_norm = nn.RMSNorm(wide_q, spec.norm_eps, spec.norm_offset) if normed else None
            self.k_norm = nn.RMSNorm(wide_k, spec.norm_eps, spec.norm_offset) if normed else None
            self.dropout = nn.Dropout(spec.attention_dropout)
            self.fused: Any = None  # one product for q, k and v, which an engine may put here

        def products(self, x: Array) -> tuple[Array, Array, Array]:
            """x (B, T, W) -> queries, keys and values, (B, T, heads * D) each."""
            if self.fused is None:
                return self.q(x), self.k(x), self.v(x)
            q, k, v = self.fused(x)
            return q, k, v

        def queries(self, q: Array) -> Array:
            """(B, T, H * D) -> (B, H, T, D)."""
            return self.split(q, self.heads, self.q_norm)

        def keys(self, k: Array) -> Array:
            """(B, S, heads * D) -> (B, heads, S, D)."""
            return self.split(k, self.key_heads, self.k_norm)

        def split(self, x: Array, heads: int, norm: Any) -> Array:
            """(B, T, heads * D) -> (B, heads, T, D), normed before or after where there is a norm."""
            if norm is None:
                return nn.split_heads(x, heads)
            return nn.split_heads(norm(x), heads) if self.wide else norm(nn.split_heads(x, heads))

        def keys_values(self, memory: Array) -> Cache:
            """(B, S, W) -> keys and values (B, heads, S, D)."""
            return self.keys(self.k(memory)), nn.split_heads(self.v(memory), self.key_heads)

        def turned(self, x: Array, turn: tuple[Array, Array] | None) -> Array:
            """Queries or keys with rotary positions."""
            return x if turn is None else nn.turned(x, turn[0], turn[1], self.interleaved)

        def forward(
            self,
            x: Array,
            sight: Sight,
            memory: Array | Cache | None = None,
            cache: Cache | None = None,
            at: Any = 0,
            weights: list[Array] | None = None,
        ) -> tuple[Array, Cache | None]:
            """x (B, T, W) -> (B, T, W), and the cache with T slots written from `at` on.

            `weights` is a list to which the attention weights (B, H, T, S) are added.
            """
            if memory is None:
                q, k, v = self.products(x)
                q, k = self.turned(self.queries(q), sight.turn), self.turned(self.keys(k), sight.turn)
                v = nn.split_heads(v, self.key_heads)
                v = self.turned(v, sight.turn) if self.turns_values else v
            else:
                q = self.queries(self.q(x))
                k, v = memory if isinstance(memory, tuple) else self.keys_values(memory)
            if cache is not None:
                cache = nn.write(cache[0], k, at), nn.write(cache[1], v, at)
                k, v = nn.visible(cache[0], at, k), nn.visible(cache[1], at, v)
            y, seen = self.attend(q, k, v, sight, weights is not None)
            if weights is not None:
                weights.append(seen)
            return self.o(nn.merge_heads(y)), cache

        def attend(self, q: Array, k: Array, v: Array, sight: Sight, want: bool) -> tuple[Array, Array | None]:
            """Attention of queries (B, H, T, D); those that share a head of keys stand side by side as further tokens."""
            mask, bias, groups = sight.mask, sight.bias, self.heads // self.key_heads
            if groups > 1:
                q = nn.regrouped(q, self.key_heads)
                mask = mask if mask is None else nn.tiled(mask, groups)
                bias = bias if bias is None else nn.regrouped(bias, self.key_heads)
            y, seen = nn.attention(q, k, v, mask, self.scale, self.dropout, want, bias, self.cap)
            if groups > 1:
                y, seen = nn.regrouped(y, self.heads), seen if seen is None else nn.regrouped(seen, self.heads)
            return y, seen

    kinds = attention.define(nn, Attention)
    GroupedLinear = grouped.define(nn)  # noqa: N806
    Convolution = convolution.define(nn)  # noqa: N806

    def product(spec: StackSpec, name: str, inputs: int, outputs: int) -> Any:
        if spec.ffn_groups > 1:
            return GroupedLinear(inputs, outputs, spec.ffn_groups)
        return linear(spec, name, inputs, outputs)

    class FeedForward(nn.Module):
        """Up, activation, down; with a gate, the activated product multiplies another (https://arxiv.org/abs/2002.05202)."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.activation = nn.activation(spec.activation)
            self.gate = linear(spec, "gate", spec.width, spec.ffn) if spec.gated else None
            self.up = product(spec, "up", spec.width, spec.ffn)
            self.down = product(spec, "down", spec.ffn, spec.width)
            self.dropout = nn.Dropout(spec.activation_dropout)

        def forward(self, x: Array) -> Array:
            y = self.activation(self.up(x)) if self.gate is None else self.activation(self.gate(x)) * self.up(x)
            return self.down(self.dropout(y))

    class Block(nn.Module):
        """Self-attention, cross-attention where the spec asks for it, feed-forward; each with its residual and norms."""

        def __init__(self, spec: StackSpec, number: int) -> None:
            super().__init__()
            scale = spec.head_dim**-0.5 if spec.score_scale is None else spec.score_scale
            if spec.scale_scores_by_layer:
                scale /= number + 1
            out, before = spec.norms in ("sandwich", "out"), spec.norms != "out"
            self.post, self.parallel, self.residual_scale = spec.norms == "post", spec.parallel, spec.residual_scale
            self.has_cross, self.cross_place, self.streams = spec.has_cross(number), spec.cross_place, spec.streams
            kind = kinds.layer(spec.attention)
            self.attention = Attention(spec, scale, spec.width) if kind is None else kind(spec, scale, number)
            self.attention_norm = norm_of(spec, spec.width) if before and (number or spec.first_norm) else None
            self.attention_out_norm = norm_of(spec, spec.width) if out else None
            scales = spec.layer_scale is not None
            self.attention_scale = nn.vector(spec.width, trained=True) if scales else None
            self.ffn_scale = nn.vector(spec.width, trained=True) if scales else None
            window = spec.window
            self.window = nn.Embedding(window.rows, spec.heads) if window is not None and window.own else None
            if self.has_cross:
                self.cross = Attention(spec, scale, spec.memory_width or spec.width)
                self.cross_norm = norm_of(spec, spec.width) if before else None
                self.cross_out_norm = norm_of(spec, spec.width) if out else None
                self.cross_gate = nn.vector(1, trained=True) if spec.cross_gate else None
            self.ffn = FeedForward(spec)
            self.ffn_norm = norm_of(spec, spec.width) if before and spec.parallel != "one_norm" else None
            self.ffn_out_norm = norm_of(spec, spec.width) if out else None
            self.convolution = Convolution(spec) if spec.convolution is not None and number == 0 else None
            self.dropout = nn.Dropout(spec.dropout)
            self.ffn_dropout = self.dropout if spec.ffn_dropout is None else nn.Dropout(spec.ffn_dropout)

        def before(self, norm: Any, x: Array) -> Array:
            """What a sublayer reads."""
            return x if self.post or norm is None else norm(x)

        def added(self, y: Array, out_norm: Any, dropout: Any, scale: Any = None) -> Array:
            """What a sublayer adds to the residual."""
            y = nn.scaled(dropout(y if out_norm is None else out_norm(y)), self.residual_scale)
            return y if scale is None else nn.stretched(y, scale)

        def after(self, norm: Any, x: Array) -> Array:
            """The residual, normed where norms come last."""
            return norm(x) if self.post else x

        def attended(self, x: Array, sight: Sight, cache: Cache | None, at: Any, trace: Trace | None) -> Any:
            """What self-attention adds, and the new cache."""
            weights = None if trace is None else trace.attentions
            y, cache = self.attention(self.before(self.attention_norm, x), sight, None, cache, at, weights)
            return self.added(y, self.attention_out_norm, self.dropout, self.attention_scale), cache

        def fed(self, x: Array) -> Array:
            """What the feed-forward adds."""
            norm = self.attention_norm if self.parallel == "one_norm" else self.ffn_norm
            y = self.ffn(self.before(norm, x))
            return self.added(y, self.ffn_out_norm, self.ffn_dropout, self.ffn_scale)

        def crossed(
            self, x: Array, place: str, memory: Array | Cache | None, mask: Array | None, trace: Trace | None
        ) -> Array:
            """x after cross-attention, where the block has it in this place and there is something to read."""
            if not self.has_cross or memory is None or place != self.cross_place:
                return x
            weights = None if trace is None else trace.cross_attentions
            y, _ = self.cross(self.before(self.cross_norm, x), Sight(mask), memory, weights=weights)
            if weights is not None and self.streams > 1:  # those by which logits are made
                weights[-1] = weights[-1][:, :, nn.size(x, 1) // self.streams :]
            crossed = self.after(self.cross_norm, x + self.added(y, self.cross_out_norm, self.dropout))
            return crossed if self.cross_gate is None else x + nn.tanh(self.cross_gate) * (crossed - x)

        def forward(
            self,
            x: Array,
            sight: Sight,
            memory: Array | Cache | None = None,
            memory_mask: Array | None = None,
            cache: Cache | None = None,
            at: Any = 0,
            trace: Trace | None = None,
        ) -> tuple[Array, Cache | None]:
            """x (B, T, W) -> (B, T, W) and the new cache."""
            entered = x
            x = self.crossed(x, "before_self_attention", memory, memory_mask, trace)
            y, cache = self.attended(x, sight, cache, at, trace)
            if self.parallel:
                x = self.crossed(x, "after_self_attention", memory, memory_mask, trace) + y + self.fed(x)
            else:
                x = self.after(self.attention_norm, x + y)
                x = self.crossed(x, "after_self_attention", memory, memory_mask, trace)
                x = self.after(self.ffn_norm, x + self.fed(x))
            x = self.crossed(x, "after_feed_forward", memory, memory_mask, trace)
            return x if self.convolution is None else self.convolution(entered, x, sight.mask), cache

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
            self.project_place = spec.embed_project
            summed = spec.width if spec.embed_project == "tokens" else spec.token_width
            self.token = nn.Embedding(spec.vocab, spec.token_width)
            self.position = nn.Embedding(spec.positions, summed) if has_table(spec) else None
            self.table = nn.Constant(sinusoids(spec)) if spec.sinusoidal else None
            if spec.types:
                self.segment = nn.Embedding(spec.types, summed)
            self.task = nn.Embedding(spec.task_types, summed) if spec.task_types else None
            self.grams = spec.attention.grams if isinstance(spec.attention, NGram) else 0
            self.stream: Any = nn.Embedding(self.grams, summed) if self.grams else None
            normed = spec.width if spec.embed_project == "sum" else summed
            self.norm = norm_of(spec, normed) if spec.embed_norm else None
            self.norm_first = spec.embed_norm_first
            self.project = linear(spec, "embed", spec.token_width, spec.width) if spec.embed_width else None
            self.dropout = nn.Dropout(spec.embed_dropout)

        def rows(self, ids: Array | None, length: int, start: Any, like: Array) -> Array | None:
            """The rows of the position table for `length` tokens of which `start` came before: (1, T) or (B, T)."""
            if self.position is None and self.table is None:
                return None
            if ids is None or self.pad is None:
                return nn.arange(length, like)[None] + (start + self.offset)
            real = ids != self.pad
            return nn.where(real, nn.cumsum(real) + start + (self.offset - 1), self.pad)

        def given_rows(self, positions: Array) -> Array:
            """The rows of positions that a caller counts as the family does."""
            return positions if self.pad is not None else positions + self.offset

        def forward(
            self,
            ids: Array | None,
            rows: Array | None,
            types: Array | None = None,
            embeddings: Array | None = None,
        ) -> Array:
            """ids (B, T), or ready token embeddings (B, T, W) -> (B, T, W); `rows` are of the position table.

            Where there is a predicting stream, it stands behind: (B, 2T, W).
            """
            x: Any = embeddings if ids is None else nn.scaled(self.token(ids), self.scale)
            x = self.projected(x, "tokens")
            if self.types:
                x = x + (self.segment(types) if types is not None else nn.first_row(self.segment))
            if self.norm is not None and self.norm_first:
                x = self.norm(x)
            if self.position is not None:
                x = x + self.position(rows)
            if self.stream is not None:
                x = nn.concat([x, self.predicting(rows, x)], 1)
            if self.task is not None:
                x = x + nn.first_row(self.task)
            if self.table is not None:
                x = x + nn.looked_up(self.table, rows, x)
            x = self.projected(x, "sum")
            x = self.dropout(x if self.norm is None or self.norm_first else self.norm(x))
            return self.projected(x, "last")

        def predicting(self, rows: Array, like: Array) -> Array:
            """The predicting stream (B, T, W), which stands a place on and knows no token."""
            position: Any = self.position
            told = position(rows + 1) + self.stream(nn.arange(self.grams, like)[self.grams - 1 :])
            return nn.broadcast(told, (nn.size(like, 0), nn.size(like, 1), like.shape[2]))

        def projected(self, x: Array, place: str) -> Array:
            """x in the stack's width, where the embeddings are projected in this place."""
            return x if self.project is None or self.project_place != place else self.project(x)

    class Head(nn.Module):
        """What stands between the last hidden state and the output embedding, and the bias after it."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.transforms = spec.head == "transform"
            dense = spec.head in ("transform", "project")
            self.dense = linear(spec, "head", spec.width, spec.output_width) if dense else None
            if self.transforms:
                self.activation = nn.activation(spec.head_activation or spec.activation)
                self.norm = norm_of(spec, spec.output_width)
            self.bias = nn.vector(spec.vocab, trained=spec.head_bias == "trained") if spec.head_bias != "none" else None

        def forward(self, x: Array) -> Array:
            x = x if self.dense is None else self.dense(x)
            return self.norm(self.activation(x)) if self.transforms else x

    class Stack(nn.Module):
        """Embeddings, blocks and, for a decoder, a head."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.spec = spec
            self.recompute = False  # gradient checkpointing
            self.embed = Embed(spec) if spec.front is None else senses[fronts.EMBEDS[type(spec.front)]](spec)
            blocks = max(spec.blocks) + 1 if spec.blocks else spec.layers
            self.layers = nn.ModuleList([Block(spec, i) for i in range(blocks)])
            self.relative = nn.ModuleList(relative_tables(spec))
            shared = kinds.shared(spec.attention)
            self.shared = None if shared is None else shared(spec)
            window = spec.window
            self.window = nn.Embedding(window.rows, spec.heads) if window is not None and window.shared else None
            self.norm = norm_of(spec, spec.width) if spec.final_norm else None
            self.adapter = None if spec.adapter is None else senses["Shortener"](spec)
            self.head = Head(spec) if spec.head not in ("none", "plain") or spec.head_bias != "none" else None
            untied = spec.head != "none" and not spec.tied
            self.output = nn.OutputEmbedding(spec.output_width, spec.vocab) if untied else None

        def blocks(self) -> list[Any]:
            """The block of each layer."""
            return [self.layers[i] for i in self.spec.blocks] if self.spec.blocks else list(self.layers)

        def sights(self, given: Inputs) -> list[Sight]:
            """What each layer's self-attention sees; what several have in common is computed once."""
            spec, place, like = self.spec, given.place, given.embeddings
            masks: dict[Any, Array | None] = {}
            turns: dict[Any, Any] = {id(None): None}
            for reach in set(spec.reaches or (None,)):
                masks[reach] = within(given.mask, place.order, reach, spec.causal)
            for rotary in {id(one): one for one in spec.rotary if one is not None}.values():
                turns[id(rotary)] = nn.turns(place.positions, rotary.frequencies, rotary.scale, like)
            biases = self.biases(place, like)
            own = None if self.shared is None else self.shared(given)
            return [
                Sight(
                    masks[spec.reaches[i] if spec.reaches else None],
                    biases[i % len(biases)],
                    turns[id(spec.rotary[i] if spec.rotary else None)],
                    own,
                )
                for i in range(spec.layers)
            ]

        def biases(self, place: Place, like: Array) -> list[Array | None]:
            """What distance adds to attention scores (1, H, T, S): one for all layers, or one a layer."""
            if place.grid is not None and self.spec.window is not None:
                return self.windowed(place.grid, like)
            if place.order is None:
                return [None]
            if self.spec.alibi:
                return [nn.sloped(slopes(self.spec.heads), place.order[1], like)]
            if self.spec.relative is None:
                return [None]
            farthest = self.spec.relative.farthest
            far = nn.clipped(distances(place.order), -farthest, farthest) + farthest
            buckets = nn.looked_up(nn.Constant(distance_buckets(self.spec.relative, self.spec.causal)), far, far)
            return [nn.heads_first(table(buckets)) for table in self.relative]

        def windowed(self, grid: tuple[int, int], like: Array) -> list[Array | None]:
            """The same of patches: what all layers share, and what each has of its own."""
            window: Any = self.spec.window

            def bias(table: Any) -> Array:
                rows = table(nn.arange(window.rows, like))
                if grid != window.size:
                    rows = nn.mixed(stretched_window(window.size, grid), rows)
                return nn.heads_first(nn.gathered(rows, window_places(grid))[None])

            shared = None if self.window is None else bias(self.window)
            if not window.own:
                return [shared]
            own = [bias(block.window) for block in self.blocks()]
            return own if shared is None else [one + shared for one in own]

        def hidden(self, given: Inputs) -> tuple[Array, list[Cache] | None]:
            """The last hidden states (B, T, W), and the new cache where one was given."""
            x, written, trace = given.embeddings, [], given.trace
            keep = None if trace is None else trace.hidden_states
            sights, read = self.sights(given), 0
            for i, block in enumerate(self.blocks()):
                if keep is not None:
                    keep.append(self.stream(x, 0))
                memory = given.memory
                if isinstance(memory, list):
                    memory, read = memory[read] if block.has_cross else None, read + block.has_cross
                if self.recompute and given.cache is None and trace is None:
                    x = nn.recomputed(block, x, sights[i], memory, given.memory_mask)
                    continue
                cache = None if given.cache is None else given.cache[i]
                x, cache = block(x, sights[i], memory, given.memory_mask, cache, given.at, trace)
                written.append(cache)
            if self.norm is not None:
                x = self.norm(x)
            if keep is not None:
                keep.append(self.stream(x, 0))
            return self.stream(x, self.spec.streams - 1), None if given.cache is None else written

        def stream(self, x: Array, number: int) -> Array:
            """One of the streams that stand side by side in x (B, streams * T, W): (B, T, W)."""
            if self.spec.streams == 1:
                return x
            length = nn.size(x, 1) // self.spec.streams
            return x[:, number * length : (number + 1) * length]

        def remember(self, memory: Array) -> list[Cache]:
            """Each cross-attention's keys and values of memory (B, S, W): computed once per source."""
            return [block.cross.keys_values(memory) for block in self.blocks() if block.has_cross]

        def logits(self, x: Array) -> Array:
            """Hidden states (..., W) -> logits (..., V)."""
            bias = None
            if self.head is not None:
                x, bias = self.head(x), self.head.bias
            x = nn.scaled(x, self.spec.logit_scale)
            logits = nn.unembed(self.embed.token if self.output is None else self.output, x, bias)
            return nn.capped(logits, self.spec.logit_cap) if self.spec.logit_cap else logits

    def relative_tables(spec: StackSpec) -> list[Any]:
        if spec.relative is None:
            return []
        return [
            nn.Embedding(spec.relative.buckets, spec.heads)
            for _ in range(spec.layers if spec.relative.each_layer else 1)
        ]

    def within(mask: Array | None, order: tuple[Array, Array] | None, reach: int | None, causal: bool) -> Array | None:
        """A mask that hides, too, what is more than `reach` tokens away."""
        if reach is None or order is None:
            return mask
        away = -distances(order) if causal else nn.absolute(distances(order))
        near = (away <= reach)[:, None]
        return near if mask is None else mask & near

    return {c.__name__: c for c in (Attention, FeedForward, Block, Embed, Head, Stack)} | dict(senses)


def has_table(spec: StackSpec) -> bool:
    """Whether positions are looked up in a table that was learned."""
    return spec.positions > 0 and not spec.sinusoidal


def distances(order: tuple[Array, Array]) -> Array:
    """How many tokens each key (1, S) is after each query (1, T): (1, T, S)."""
    queries, keys = order
    return keys[:, None, :] - queries[:, :, None]
