"""Attention to near tokens, and to and from a few global ones (Longformer, https://arxiv.org/abs/2004.05150), over `nn`.

Queries stand in blocks as long as the reach, and each block sees three blocks of keys, its own and its neighbours, of
which a mask hides what is farther: memory grows with tokens times reach, and shapes do not depend on what is given.
"""

from typing import Any, NamedTuple

from conjoin.errors import InputError
from conjoin.spec import Sliding, StackSpec

__all__ = ["View", "define", "near"]

Array = Any


class View(NamedTuple):
    """What all layers see, B * n blocks of w queries and three times as many keys."""

    near: tuple[Array, ...]  # by distinct reach, the shortest first: (B * n, 1, w, 3w)
    tokens: Array | None  # (B, G) where the global tokens stand
    real: Array | None  # (B, G) False where a row has fewer
    chosen: Array | None  # (B, T, 1) which tokens are global
    rank: Array | None  # (B, T) the how manieth global token one is
    mask: Array | None  # (B, 1, 1, T)


def define(nn: Any, ordinary: Any) -> tuple[Any, Any]:
    """The class of a layer's attention, and of what is made once for all layers."""

    class Windows(nn.Module):  # type: ignore[misc]
        """Makes the View of a stack's input."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.kind: Any = spec.attention

        def forward(self, given: Any) -> View:
            """From a mask (B, 1, 1, T), and the places of global tokens (B, G) in order, -1 where a row has fewer."""
            x, mask, tokens = given.embeddings, given.mask, given.global_tokens
            batch, length = nn.size(x, 0), nn.size(x, 1)
            place = nn.arange(length, x)[None]
            seen = nn.broadcast(place >= 0, (batch, length)) if mask is None else mask[:, 0, 0]
            if tokens is None:
                masks = tuple(near(nn, seen, reach, reach) for reach in distinct(self.kind))
                return View(masks, None, None, None, None, mask)
            chosen = nn.any_of(tokens[:, :, None] == place[None])[:, 0]
            masks = tuple(near(nn, seen & ~chosen, reach, reach) for reach in distinct(self.kind))
            rank = nn.where(chosen, nn.cumsum(chosen) - 1, 0)
            return View(masks, nn.where(tokens < 0, 0, tokens), tokens >= 0, chosen[..., None], rank, mask)

    class SlidingAttention(ordinary):  # type: ignore[misc]
        """Ordinary attention within windows; global tokens have projections of their own for what they see."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__(spec, scale, spec.width)
            kind: Any = spec.attention
            self.reach = kind.reaches[number]
            self.which = distinct(kind).index(self.reach)
            self.global_q = nn.Linear(spec.width, spec.width, "q" in spec.biases)
            self.global_k = nn.Linear(spec.width, spec.width, "k" in spec.biases)
            self.global_v = nn.Linear(spec.width, spec.width, "v" in spec.biases)

        def forward(
            self, x: Array, sight: Any, memory: None = None, cache: None = None, at: Any = 0, weights: Any = None
        ) -> tuple[Array, None]:
            """x (B, T, W) -> (B, T, W), and no cache. Raises InputError where attention weights are asked for."""
            if weights is not None:
                raise InputError("sliding attention keeps no weights; leave output_attentions away.")
            view, length = sight.own, nn.size(x, 1)
            q, k, v = self.products(x)
            seen, keys, values = view.near[self.which], nn.windows(k, self.reach), nn.windows(v, self.reach)
            if view.tokens is not None:
                blocks = nn.block_count(length, self.reach)
                keys, values = (
                    nn.concat([nn.repeated(nn.pick(y, view.tokens), blocks), w], 1) for y, w in ((k, keys), (v, values))
                )
                real = nn.repeated(view.real, blocks)[:, None, None, :]
                shape = (nn.size(seen, 0), 1, self.reach, nn.size(view.tokens, 1))
                seen = nn.concat([nn.broadcast(real, shape), seen], 3)
            queries = self.queries(nn.blocked(q, self.reach))
            y, _ = self.attend(queries, self.keys(keys), self.keys(values), sight._replace(mask=seen), False)
            y = nn.unblocked(nn.merge_heads(y), length)
            return self.o(y if view.tokens is None else self.overwritten(x, y, view)), None

        def overwritten(self, x: Array, y: Array, view: View) -> Array:
            """y (B, T, W) with what global tokens see in their places."""
            q = self.queries(self.global_q(nn.pick(x, view.tokens)))
            k, v = self.keys(self.global_k(x)), nn.split_heads(self.global_v(x), self.heads)
            found, _ = nn.attention(q, k, v, view.mask, self.scale, self.dropout, False)
            return nn.where(view.chosen, nn.pick(nn.merge_heads(found), view.rank), y)

    return SlidingAttention, Windows


def near(nn: Any, seen: Array, width: int, reach: int) -> Array:
    """Which keys each query sees (B * n, 1, w, 3w): those within reach, and itself, so that none sees nothing."""
    query = nn.arange(width, seen)[:, None]
    away = nn.arange(3 * width, seen)[None] - width - query
    within = nn.absolute(away) <= reach
    return (nn.windows(seen, width)[:, None, None, :] & within) | (away == 0)


def distinct(kind: Sliding) -> tuple[int, ...]:
    """Every reach once, the shortest first."""
    return tuple(sorted(set(kind.reaches)))
