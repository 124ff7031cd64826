"""Attention with scores of content and of relative places (DeBERTa, https://arxiv.org/abs/2006.03654), over `nn`.

Each query's score of a key is content with content, content with the place of the key, and place with content. Places
are rows of one table, chosen by distance; there are as many distances as twice the tokens, so products with places are
made for each distance, and turned into scores of pairs by a shift, for which no index is looked up.
"""

from typing import Any

from conjoin.positions import place_rows
from conjoin.spec import StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any, ordinary: Any) -> tuple[Any, Any]:
    """The class of a layer's attention, and of the table that all layers share."""

    class Places(nn.Module):  # type: ignore[misc]
        """The table of relative places."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            kind: Any = spec.attention
            self.kind = kind
            self.table = nn.Embedding(kind.rows, spec.width)
            self.norm = nn.LayerNorm(spec.width, spec.norm_eps, True) if kind.norm else None

        def forward(self, given: Any) -> tuple[tuple[Array, Array], tuple[Array, Array] | None]:
            """Rows twice, by key - query and by query - key, and which of them stand for the distances from 1 - T on.

            Rows are those of distances (2T, W), and no choice follows, where there are no more distances than rows in
            the table; else they are the table, and the choice (2T,) follows the projections, which then have less to do.
            """
            length, like = nn.size(given.embeddings, 1), given.embeddings
            distance = nn.arange(2 * length, like) - (length - 1)
            both = nn.concat([-distance[None], distance[None]], 0)
            most = self.kind.farthest
            at = nn.clipped(both, -most, most) + most
            at = nn.looked_up(nn.Constant(place_rows(self.kind)), at, at)
            if isinstance(length, int) and 2 * length <= self.kind.rows:
                return (self.rows(at[0]), self.rows(at[1])), None
            every = self.rows(nn.arange(self.kind.rows, like))
            return (every, every), (at[0], at[1])

        def rows(self, at: Array) -> Array:
            """Some rows (N,) -> (N, W)."""
            rows = self.table(at)
            return rows if self.norm is None else self.norm(rows)

    class DisentangledAttention(ordinary):  # type: ignore[misc]
        """Ordinary attention, with what places add to its scores."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__(spec, scale, spec.width)
            kind: Any = spec.attention
            inner = spec.heads * spec.head_dim
            self.shared, self.by_key, self.by_query = kind.shared, kind.c2p, kind.p2c
            own = not kind.shared
            self.c2p: Any = nn.Linear(spec.width, inner, "c2p" in spec.biases) if own and kind.c2p else None
            self.p2c: Any = nn.Linear(spec.width, inner, "p2c" in spec.biases) if own and kind.p2c else None
            self.place_dropout = nn.Dropout(spec.dropout)

        def attend(self, q: Array, k: Array, v: Array, sight: Any, want: bool) -> tuple[Array, Array | None]:
            """Attention of queries (B, H, T, D) over as many keys."""
            found: tuple[Array, Array | None] = super().attend(
                q, k, v, sight._replace(bias=self.placed(q, k, sight.own)), want
            )
            return found

        def placed(self, q: Array, k: Array, places: Any) -> Array | None:
            """What places add to the scores (B, H, T, T)."""
            (by_key, by_query), at = places
            bias = None
            if self.by_key:
                keys = self.projected(self.k if self.shared else self.c2p, by_key, None if at is None else at[0])
                bias = nn.skewed(nn.dots(nn.scaled(q, self.scale), keys))
            if self.by_query:
                queries = self.projected(self.q if self.shared else self.p2c, by_query, None if at is None else at[1])
                more = nn.transposed(nn.skewed(nn.dots(k, nn.scaled(queries, self.scale))))
                bias = more if bias is None else bias + more
            return bias

        def projected(self, layer: Any, rows: Array, at: Array | None) -> Array:
            """Rows (N, W) through a layer, and chosen where there is a choice -> (1, H, 2T, D)."""
            y = layer(self.place_dropout(rows))
            return nn.split_heads((y if at is None else nn.take_rows(y, at))[None], self.heads)

    return DisentangledAttention, Places
