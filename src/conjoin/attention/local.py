"""Attention to near tokens, and to what blocks of tokens sum up to (LongT5, https://arxiv.org/abs/2112.07916), over `nn`.

Queries stand in blocks one token longer than the reach, and each block sees three blocks of keys, its own and its
neighbours, of which a mask hides what is farther: memory grows with tokens times what one token sees. The tokens of a
last block that is not full are summed with the block before; hidden tokens count nowhere. Which block a token is of is
told by whole numbers: in transformers a division in float32 puts, for sizes such as 25, single tokens of long texts one
block before.
"""

from typing import Any, NamedTuple

from conjoin.attention.sliding import near
from conjoin.positions import distance_buckets
from conjoin.spec import StackSpec

__all__ = ["View", "define"]

Array = Any


class View(NamedTuple):
    """What all layers see, B * n blocks of w queries, three times as many keys and g sums."""

    mask: Array  # (B * n, 1, w, 3w + g)
    bias: Array  # (1 or B * n, H, w, 3w + g)
    parts: Array | None  # (B, g, T) which tokens each sum is of


def define(nn: Any, ordinary: Any) -> tuple[Any, Any]:
    """The class of a layer's attention, and of what is made once for all layers."""

    class Surroundings(nn.Module):  # type: ignore[misc]
        """Makes the View of a stack's input; has the tables of what distances in tokens and in blocks add to scores."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            kind: Any = spec.attention
            self.kind = kind
            self.near = nn.Embedding(kind.distances.buckets, spec.heads)
            self.far = nn.Embedding(kind.distances.buckets, spec.heads) if kind.block else None

        def forward(self, given: Any) -> View:
            """From a mask (B, 1, 1, T)."""
            x, width = given.embeddings, self.kind.reach + 1
            shape = nn.size(x, 0), nn.size(x, 1)
            place = nn.arange(shape[1], x)[None]
            seen = nn.broadcast(place >= 0, shape) if given.mask is None else given.mask[:, 0, 0]
            mask = near(nn, seen, width, self.kind.reach)
            away = nn.arange(3 * width, x)[None] - width - nn.arange(width, x)[:, None]
            bias = self.added(self.near, away[None])
            if self.far is None:
                return View(mask, bias, None)
            of, full = blocks_of(seen, place, self.kind.block)
            sums = nn.arange(shape[1] // self.kind.block, x)
            rows, count = nn.size(mask, 0), nn.size(sums, 0)
            real = nn.repeated(sums[None] < full, nn.block_count(shape[1], width))[:, None, None, :]
            far = self.added(self.far, sums - nn.blocked(of[..., None], width))
            local = nn.broadcast(bias, (rows, *bias.shape[1:]))
            return View(
                nn.concat([mask, nn.broadcast(real, (rows, 1, width, count))], 3),
                nn.concat([local, far], 3),
                of[:, None, :] == sums[None, :, None],
            )

        def added(self, table: Any, away: Array) -> Array:
            """What distances key - query (N, T, S) add to scores (N, H, T, S)."""
            farthest = self.kind.distances.farthest
            far = nn.clipped(away, -farthest, farthest) + farthest
            buckets = nn.looked_up(nn.Constant(distance_buckets(self.kind.distances, False)), far, far)
            return nn.heads_first(table(buckets))

    def blocks_of(seen: Array, place: Array, size: int) -> tuple[Array, Array]:
        """The block (B, T) of each token seen (B, T) at a place (1, T), -1 for none; how many a row has (B, 1)."""
        block, rest = nn.divided(place, size)
        full = nn.cumsum(seen & (rest == size - 1))[:, -1:]
        return nn.where(seen, nn.where(block < full, block, full - 1), -1), full

    class LocalAttention(ordinary):  # type: ignore[misc]
        """Ordinary attention of blocks to their surroundings; sums are normed, and read by the layer's own projections."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__(spec, scale, spec.width)
            kind: Any = spec.attention
            self.width = kind.reach + 1
            self.sum_norm: Any = nn.RMSNorm(spec.width, spec.norm_eps, spec.norm_offset) if kind.block else None

        def forward(
            self, x: Array, sight: Any, memory: None = None, cache: None = None, at: Any = 0, weights: Any = None
        ) -> tuple[Array, None]:
            """x (B, T, W) -> (B, T, W), and no cache.

            The attention weights that are added to `weights` are by blocks (B, n, H, w, 3w + g).
            """
            view, batch, length = sight.own, nn.size(x, 0), nn.size(x, 1)
            blocks = nn.block_count(length, self.width)
            q, k, v = self.products(x)
            keys, values = nn.windows(k, self.width), nn.windows(v, self.width)
            if view.parts is not None:
                sums = self.summed(x, view.parts)
                keys, values = (
                    nn.concat([y, nn.repeated(layer(sums), blocks)], 1)
                    for y, layer in ((keys, self.k), (values, self.v))
                )
            queries = self.queries(nn.blocked(q, self.width))
            sight = sight._replace(mask=view.mask, bias=view.bias)
            y, found = self.attend(
                queries, self.keys(keys), nn.split_heads(values, self.key_heads), sight, weights is not None
            )
            if weights is not None:
                weights.append(nn.reshaped(found, (batch, blocks, self.heads, self.width, -1)))
            return self.o(nn.unblocked(nn.merge_heads(y), length)), None

        def summed(self, x: Array, parts: Array) -> Array:
            """The normed sums (B, g, W) of the tokens x (B, T, W) of each block (B, g, T)."""
            each = nn.where(parts, nn.full((1, 1, 1), 1.0, x), nn.zeros((1, 1, 1), x))
            return self.sum_norm(nn.dots(each[:, None], nn.transposed(x)[:, None])[:, 0])

    return LocalAttention, Surroundings
