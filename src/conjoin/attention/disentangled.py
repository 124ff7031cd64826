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

        def forward(self, given: Any) -> Array:
            """The rows of keys before to keys after (2, 1, 2T, W): by key - query, then by query - key, from 1 - T on."""
            length, like = nn.size(given.embeddings, 1), given.embeddings
            distance = nn.arange(2 * length, like) - (length - 1)
            both = nn.concat([-distance[None], distance[None]], 0)
            most = self.kind.farthest
            at = nn.clipped(both, -most, most) + most
            rows = self.table(nn.looked_up(nn.Constant(place_rows(self.kind)), at, at))[:, None]
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

        def placed(self, q: Array, k: Array, rows: Array) -> Array | None:
            """What places add to the scores (B, H, T, T)."""
            rows, bias = self.place_dropout(rows), None
            if self.by_key:
                keys = nn.split_heads((self.k if self.shared else self.c2p)(rows[0]), self.heads)
                bias = nn.skewed(nn.dots(nn.scaled(q, self.scale), keys))
            if self.by_query:
                queries = nn.split_heads((self.q if self.shared else self.p2c)(rows[1]), self.heads)
                more = nn.transposed(nn.skewed(nn.dots(k, nn.scaled(queries, self.scale))))
                bias = more if bias is None else bias + more
            return bias

    return DisentangledAttention, Places
