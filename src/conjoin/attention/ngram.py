"""Attention of two streams of tokens (ProphetNet, https://arxiv.org/abs/2001.04063), over `nn`.

The main stream is a causal language model's. The predicting stream has no tokens of its own to read, only where it stands:
each of its tokens sees the main stream up to its own place, and itself, and makes the logits of the next token. Of the n
predicting streams of the paper only the first makes logits that count, so the others are not computed. Both stand side by
side, (B, 2T, W) with the main stream first; what is kept from step to step is of the main stream.
"""

from typing import Any

from conjoin.positions import distance_buckets
from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any, ordinary: Any) -> tuple[Any, Any]:
    """The class of a layer's attention, and of what is made once for all layers."""

    class Streams(nn.Module):  # type: ignore[misc]
        """What the tokens of both streams see, and how far that is away."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            kind: Any = spec.attention
            self.kind, self.distances = kind, nn.Constant(distance_buckets(kind.distances, True))

        def forward(self, given: Any) -> tuple[Array, Array]:
            """Buckets of distances (1 or B, 2T, S + T) and a mask (1 or B, 1, 2T, S + T), of S main keys and T predicting."""
            x, (queries, keys) = given.embeddings, given.place.order
            length, slots = nn.size(x, 1) // 2, nn.size(keys, 1)
            rows = nn.size(keys, 0)
            away = nn.broadcast(keys[:, None, :] - queries[:, :, None], (rows, length, slots))
            farthest = self.kind.distances.farthest
            # The predicting stream stands where the next token will, one place on.
            far = nn.clipped(nn.concat([away, away - 1], 1), -farthest, farthest) + farthest
            buckets = nn.looked_up(self.distances, far, far)
            own = nn.zeros(
                (rows, 2 * length, length), buckets
            )  # none is farther than itself, whose bucket is the first
            return nn.concat([buckets, own], 2), self.seen(given.mask, x, length, keys)

        def seen(self, mask: Array | None, x: Array, length: Any, keys: Array) -> Array:
            """The mask of both streams, by that of the main one (1 or B, 1, 1 or T, S)."""
            mask = (keys >= 0)[:, None, None, :] if mask is None else mask
            batch = nn.size(mask, 0)
            past = nn.broadcast(mask, (batch, 1, length, nn.size(keys, 1)))
            place = nn.arange(length, x)
            itself = nn.broadcast((place[:, None] == place[None])[None, None], (batch, 1, length, length))
            main, predicting = nn.concat([past, nn.false(itself)], 3), nn.concat([past, itself], 3)
            return nn.concat([main, predicting], 2)

    class NGramAttention(ordinary):  # type: ignore[misc]
        """Ordinary attention of both streams, to whose scores each query adds what it makes of a distance."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__(spec, scale, spec.width)
            kind: Any = spec.attention
            self.buckets = kind.distances.buckets
            self.distance = nn.Linear(spec.width, self.buckets * spec.heads, True)

        def forward(
            self, x: Array, sight: Any, memory: None = None, cache: Any = None, at: Any = 0, weights: Any = None
        ) -> tuple[Array, Any]:
            """x (B, 2T, W) -> (B, 2T, W), and the cache of the main stream with T slots written from `at` on.

            The attention weights that are added to `weights` are those of the main stream (B, H, T, S).
            """
            length = nn.size(x, 1) // 2
            q, k, v = self.products(x)
            q, k, v = self.queries(q), self.keys(k), nn.split_heads(v, self.key_heads)
            main = k[:, :, :length], v[:, :, :length]
            if cache is not None:
                cache = nn.write(cache[0], main[0], at), nn.write(cache[1], main[1], at)
                main = nn.visible(cache[0], at, main[0]), nn.visible(cache[1], at, main[1])
            k, v = nn.concat([main[0], k[:, :, length:]], 2), nn.concat([main[1], v[:, :, length:]], 2)
            buckets, mask = sight.own
            sight = sight._replace(mask=mask, bias=self.distant(x, buckets))
            y, seen = self.attend(q, k, v, sight, weights is not None)
            if weights is not None:
                weights.append(seen[:, :, :length, : nn.size(main[0], 2)])
            return self.o(nn.merge_heads(y)), cache

        def distant(self, x: Array, buckets: Array) -> Array:
            """What queries (B, 2T, W) add to scores (B, H, 2T, S + T), by the buckets of how far keys are away."""
            each = nn.transposed(nn.heads_first(nn.split_heads(self.distance(x), self.buckets)))
            shape = (nn.size(x, 0), self.heads, nn.size(x, 1), nn.size(buckets, 2))
            return nn.take_last(each, nn.broadcast(buckets[:, None], shape))

    return NGramAttention, Streams
