"""Attention whose scores have learned vectors of distances (https://arxiv.org/abs/1803.02155), written once over `nn`.

Queries meet the vector of how far a key is away; keys meet it too where that is asked for
(https://arxiv.org/abs/2009.13658, method 4). Products are made with every vector, and chosen by distance.
"""

from typing import Any

from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any, ordinary: Any) -> tuple[Any, Any]:
    """The class of a layer's attention, and of what is made once for all layers."""

    class Distances(nn.Module):  # type: ignore[misc]
        """How far queries are after keys, as rows of a table."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.kind: Any = spec.attention

        def forward(self, given: Any) -> Array:
            """Rows (1, T, S)."""
            queries, keys = given.place.order
            shape = (1, nn.size(given.embeddings, 1), nn.size(keys, 1))
            most = self.kind.positions - 1
            return nn.clipped(nn.broadcast(queries[:, :, None] - keys[:, None, :], shape), -most, most) + most

    class DistantAttention(ordinary):  # type: ignore[misc]
        """Ordinary attention, with what distances add to its scores."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__(spec, scale, spec.width)
            kind: Any = spec.attention
            self.rows, self.by_key = 2 * kind.positions - 1, kind.keys
            self.distance = nn.Embedding(self.rows, spec.head_dim)

        def attend(self, q: Array, k: Array, v: Array, sight: Any, want: bool) -> tuple[Array, Array | None]:
            """Attention of queries (B, H, T, D) over keys (B, H, S, D)."""
            bias = self.distant(q, sight.own)
            if self.by_key:
                bias = bias + nn.transposed(self.distant(k, nn.transposed(sight.own)))
            found: tuple[Array, Array | None] = super().attend(q, k, v, sight._replace(bias=bias), want)
            return found

        def distant(self, x: Array, rows: Array) -> Array:
            """What x (B, H, T, D) makes of the vectors in rows (1, T, S): (B, H, T, S)."""
            each = nn.dots(nn.scaled(x, self.scale), self.distance(nn.arange(self.rows, x))[None, None])
            shape = (nn.size(x, 0), self.heads, nn.size(rows, 1), nn.size(rows, 2))
            return nn.take_last(each, nn.broadcast(rows[:, None], shape))

    return DistantAttention, Distances
