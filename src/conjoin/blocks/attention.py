"""Multi-head attention, written once over the backend `nn`."""

from typing import Any

from conjoin.blocks.inputs import Cache, Sight, packed, padded
from conjoin.blocks.leaves import linear, norm_of
from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any) -> Any:
    """The class Attention, native to the framework of `nn`."""

    class Attention(nn.Module):
        """Multi-head attention over its own input, or over `memory` where that is given."""

        def __init__(self, spec: StackSpec, scale: float, read: int) -> None:
            super().__init__()
            self.heads, self.key_heads, self.scale, self.cap = spec.heads, spec.key_heads, scale, spec.score_cap
            self.interleaved = any(one is not None and one.interleaved for one in spec.rotary)
            self.turns_values = spec.rotary_values
            queries, keys = spec.heads * spec.head_dim, spec.key_heads * spec.head_dim
            self.q = linear(nn, spec, "q", spec.width, queries)
            self.k = linear(nn, spec, "k", read, keys)
            self.v = linear(nn, spec, "v", read, keys)
            self.o = linear(nn, spec, "o", queries, spec.width)
            normed, self.wide = spec.query_key_norm, spec.query_key_norm_wide
            wide_q, wide_k = (queries, keys) if self.wide else (spec.head_dim, spec.head_dim)
            self.q_norm = norm_of(nn, spec, wide_q) if normed else None
            self.k_norm = norm_of(nn, spec, wide_k) if normed else None
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

        def keys_values(self, memory: Array, packing: Any = None) -> Cache:
            """(B, S, W), or packed (1, M, W) -> keys and values (B, heads, S, D)."""
            k, v = (padded(packing, y) for y in (self.k(memory), self.v(memory)))
            return self.keys(k), nn.split_heads(v, self.key_heads)

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
                q, k, v = (padded(sight.packing, y) for y in self.products(x))
                q, k = self.turned(self.queries(q), sight.turn), self.turned(self.keys(k), sight.turn)
                v = nn.split_heads(v, self.key_heads)
                v = self.turned(v, sight.turn) if self.turns_values else v
            else:
                q = self.queries(padded(sight.packing, self.q(x)))
                k, v = memory if isinstance(memory, tuple) else self.keys_values(memory, sight.memory_packing)
            if cache is not None:
                cache = nn.write(cache[0], k, at), nn.write(cache[1], v, at)
                k, v = nn.visible(cache[0], at, k), nn.visible(cache[1], at, v)
            y, seen = self.attend(q, k, v, sight, weights is not None)
            if weights is not None:
                weights.append(seen)
            return self.o(packed(sight.packing, nn.merge_heads(y))), cache

        def attend(self, q: Array, k: Array, v: Array, sight: Sight, want: bool) -> tuple[Array, Array | None]:
            """Attention of queries (B, H, T, D); those that share a head of keys stand side by side as further tokens."""
            mask, bias, packing, groups = sight.mask, sight.bias, sight.packing, self.heads // self.key_heads
            if groups > 1:
                packing = None  # queries stand otherwise now
                q = nn.regrouped(q, self.key_heads)
                mask = mask if mask is None else nn.tiled(mask, groups)
                bias = bias if bias is None else nn.regrouped(bias, self.key_heads)
            y, seen = nn.attention(q, k, v, mask, self.scale, self.dropout, want, bias, self.cap, packing)
            if groups > 1:
                y, seen = nn.regrouped(y, self.heads), seen if seen is None else nn.regrouped(seen, self.heads)
            return y, seen

    return Attention
