"""Attention and dropout that keep little for their backward pass: for training on a CPU.

torch's fused kernel for CPUs drops out nothing: with dropout it computes product by product and keeps three arrays of the
size (B, H, T, S) for each layer. Here of each weight only stays whether it was dropped, in a byte; the backward pass computes
the rest again (https://arxiv.org/abs/2205.14135, section 3.1), some rows of a batch at a time, so that what it works on fits into
a cache. Dropout itself keeps four bytes of each number in torch, and here one.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["LeanAttention", "LeanDropout", "lasts"]

WEIGHTS = 2**17  # how many at once
LEVELS = 2**16  # of a random number that decides what is dropped


def drawn(shape: tuple[int, ...], rate: float) -> Tensor:
    """What is kept: True with the probability 1 - rate. Four numbers of 16 bits a draw, four times as fast as bernoulli_."""
    count = math.prod(shape)
    numbers = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return (numbers[:count] < round((1 - rate) * LEVELS) - LEVELS // 2).view(shape)


class Chunk(NamedTuple):
    """Some rows of a batch whose weights are few enough, up to their last query and their last key that count."""

    rows: slice
    queries: slice
    keys: slice

    def of(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Their queries, keys and values."""
        return q[self.rows, :, self.queries], k[self.rows, :, self.keys], v[self.rows, :, self.keys]

    def clear(self, x: Tensor, counted: slice) -> None:
        """Zeros in what their queries, or keys, have behind those that count."""
        x[self.rows, :, counted.stop :].zero_()

    def weights(self, q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """Attention weights (n, H, T, S) of their queries and keys."""
        scores = torch.matmul(q * scale, k.transpose(-1, -2))
        if mask is not None:
            seen = mask if len(mask) == 1 else mask[self.rows]
            seen = (seen if seen.shape[2] == 1 else seen[:, :, self.queries])[..., self.keys]
            scores = scores.masked_fill_(~seen, torch.finfo(scores.dtype).min)
        return scores.softmax(-1)


def chunks(q: Tensor, k: Tensor, mask: Tensor | None, lengths: Sequence[int] | None) -> list[Chunk]:
    """All rows, by how many of a row's queries count, and by what the mask hides at the end of its keys."""
    queries = [q.shape[2]] * len(q) if lengths is None else lengths
    keys = [k.shape[2]] * len(q) if mask is None else in_sight(mask[:, 0]).expand(len(q)).tolist()
    size = max(1, WEIGHTS // (q.shape[1] * q.shape[2] * k.shape[2]))
    rows = (slice(at, at + size) for at in range(0, len(q), size))
    return [Chunk(here, slice(max(queries[here])), slice(max(keys[here]))) for here in rows]


def in_sight(seen: Tensor) -> Tensor:
    """How many keys (B,) there are up to the last that a query sees in (B, T, S); all where one sees none, and so all alike."""
    return torch.where(seen.any(2).all(1), lasts(seen.any(1)), seen.shape[2])


def lasts(seen: Tensor) -> Tensor:
    """How many of (B, S) there are up to the last that is True, all where none is: (B,)."""
    length = seen.shape[1]
    found = torch.where(seen, torch.arange(1, length + 1), 0).amax(1)
    return torch.where(found == 0, length, found)


class LeanAttention(torch.autograd.Function):
    """Attention of q (B, H, T, D) to k and v (B, H, S, D) by a mask (1 or B, 1, 1 or T, S), with dropout at `rate`.

    Where `lengths` (B,) are given, the queries behind them are nobody's: what comes of them is 0, or anything.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        scale: float,
        rate: float,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """(B, H, T, D)."""
        ctx.chunks, kept = chunks(q, k, mask, lengths), []
        out = torch.empty_like(q)
        with torch.autocast(q.device.type, enabled=False):
            for chunk in ctx.chunks:
                own_q, own_k, own_v = chunk.of(q, k, v)
                weights = chunk.weights(own_q, own_k, mask, scale)
                if rate:
                    kept.append(drawn(tuple(weights.shape), rate))
                    weights *= kept[-1]
                chunk.clear(out, chunk.queries)
                torch.matmul(weights, own_v, out=out[chunk.rows, :, chunk.queries])
        if rate:
            out *= 1 / (1 - rate)
        ctx.save_for_backward(q, k, v, mask, *kept)
        ctx.scale, ctx.rate = scale, rate
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of q, k and v."""
        q, k, v, mask, *kept = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        grad = grad * (1 / (1 - ctx.rate))
        for i, chunk in enumerate(ctx.chunks):
            own_q, own_k, own_v = chunk.of(q, k, v)
            to_q, to_k, to_v = chunk.of(dq, dk, dv)
            chunk.clear(dq, chunk.queries), chunk.clear(dk, chunk.keys), chunk.clear(dv, chunk.keys)
            own_grad = grad[chunk.rows, :, chunk.queries]
            weights = chunk.weights(own_q, own_k, mask, ctx.scale)
            torch.matmul((weights * kept[i] if kept else weights).transpose(-1, -2), own_grad, out=to_v)
            slope = torch.matmul(own_grad, own_v.transpose(-1, -2))
            slope = slope.mul_(kept[i]) if kept else slope
            slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype).mul_(ctx.scale)
            torch.matmul(slope, own_k, out=to_q)
            torch.matmul(slope.transpose(-1, -2), own_q, out=to_k)
        return dq, dk, dv, None, None, None, None


class LeanDropout(torch.autograd.Function):
    """x with some numbers at zero, and the others times 1 / (1 - rate)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        """Of x's shape."""
        kept = drawn(tuple(x.shape), rate)
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - rate)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The gradient of x."""
        (kept,) = ctx.saved_tensors
        return (grad * kept).mul_(ctx.scale), None
