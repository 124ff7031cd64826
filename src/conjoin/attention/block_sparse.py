"""Attention to neighbouring blocks, to the first and to the last (BigBird, https://arxiv.org/abs/2007.14062), over `nn`.

The paper's blocks at random are, where nothing is trained, the first block over and over in transformers, by which the
published numbers were made; here they are so always. A block that counts several times adds a logarithm to its scores.
"""

import math
from typing import Any

from conjoin.errors import InputError
from conjoin.spec import BlockSparse, StackSpec

__all__ = ["define"]

Array = Any


def define(nn: Any, ordinary: Any) -> tuple[Any, Any]:
    """The class of a layer's attention, and of what is made once for all layers."""

    class Blocks(nn.Module):  # type: ignore[misc]
        """What each block sees."""

        def __init__(self, spec: StackSpec) -> None:
            super().__init__()
            self.kind: Any = spec.attention

        def forward(self, given: Any) -> tuple[Array, Array] | None:
            """Mask (B * n, 1, b, 4b + b of the last block) and bias of one row; None where all see all."""
            x, size = given.embeddings, self.kind.size
            batch, length = nn.size(x, 0), nn.size(x, 1)
            if not is_sparse(self.kind, length):
                return None
            count = nn.block_count(length, size)
            last, place = (count - 1) * size, nn.arange(length, x)[None]
            seen = nn.broadcast(place >= 0, (batch, length)) if given.mask is None else given.mask[:, 0, 0]
            near = nn.windows(seen & (place >= size) & (place < last), size)[:, None, None, :]
            near = near | (nn.arange(3 * size, x)[None] == nn.arange(size, x)[:, None] + size)  # none sees nothing
            first, final = (nn.repeated(part, count)[:, None, None, :] for part in (seen[:, :size], seen[:, last:]))
            wide = [nn.broadcast(part, (batch * count, 1, size, part.shape[3])) for part in (first, final)]
            bias = [
                nn.full((1, 1, 1, size), math.log(1 + self.kind.more), x),
                nn.zeros((1, 1, 1, 3 * size + length - last), x),
            ]
            return nn.concat([wide[0], near, wide[1]], 3), nn.concat(bias, 3)

    class BlockSparseAttention(ordinary):  # type: ignore[misc]
        """Ordinary attention of the first and last block, and of all where there are few; else to some blocks."""

        def __init__(self, spec: StackSpec, scale: float, number: int) -> None:
            super().__init__(spec, scale, spec.width)
            self.size = spec.attention.size  # type: ignore[union-attr]

        def forward(
            self, x: Array, sight: Any, memory: None = None, cache: None = None, at: Any = 0, weights: Any = None
        ) -> tuple[Array, None]:
            """x (B, T, W) -> (B, T, W), and no cache. Raises InputError where attention weights are asked for."""
            if sight.own is None:
                full: tuple[Array, None] = super().forward(x, sight, None, None, at, weights)
                return full
            if weights is not None:
                raise InputError("block-sparse attention keeps no weights; leave output_attentions away.")
            mask, bias = sight.own
            length, size = nn.size(x, 1), self.size
            count = nn.block_count(length, size)
            last = (count - 1) * size
            q, k, v = self.products(x)
            keys, values = (
                self.keys(
                    nn.concat(
                        [nn.repeated(y[:, :size], count), nn.windows(y, size), nn.repeated(y[:, last:], count)], 1
                    )
                )
                for y in (k, v)
            )
            some, _ = self.attend(
                self.queries(nn.blocked(q, size)), keys, values, sight._replace(mask=mask, bias=bias), False
            )
            edges = self.queries(nn.concat([q[:, :size], q[:, last:]], 1))
            every, _ = self.attend(edges, self.keys(k), self.keys(v), sight, False)
            some, every = nn.unblocked(nn.merge_heads(some), length), nn.merge_heads(every)
            return self.o(nn.concat([every[:, :size], some[:, size:last], every[:, size:]], 1)), None

    return BlockSparseAttention, Blocks


def is_sparse(kind: BlockSparse, length: Any) -> bool:
    """Whether there are more tokens than one would see. Raises InputError where their number is not known yet."""
    if not isinstance(length, int):
        raise InputError(
            "block-sparse attention needs to know how many tokens come; give tf.function an input_signature without None."
        )
    return length > (5 + 2 * kind.more) * kind.size
