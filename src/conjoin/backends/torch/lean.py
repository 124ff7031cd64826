"""Attention and dropout that keep little for their backward pass: for training on a CPU.

torch's fused kernel for CPUs drops out nothing: with dropout it computes product by product and keeps three arrays of the
size (B, H, T, S) for each layer. Here of each weight only stays whether it was dropped, in a byte; the backward pass computes
the rest again (https://arxiv.org/abs/2205.14135, section 3.1), some rows of a batch at a time, so that what it works on fits into
a cache. Dropout itself keeps four bytes of each number in torch, and here one.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["LeanAttention", "LeanDropout"]

WEIGHTS = 2**17  # how many at once
LEVELS = 2**16  # of a random number that decides what is dropped


def drawn(shape: tuple[int, ...], rate: float) -> Tensor:
    """What is kept: True with the probability 1 - rate. Four numbers of 16 bits a draw, four times as fast as bernoulli_."""
    count = math.prod(shape)
    numbers = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    return (numbers[:count] < round((1 - rate) * LEVELS) - LEVELS // 2).view(shape)


def chunks(q: Tensor, k: Tensor) -> Iterator[slice]:
    """Rows of a batch whose weights are few enough."""
    size = max(1, WEIGHTS // (q.shape[1] * q.shape[2] * k.shape[2]))
    return (slice(at, at + size) for at in range(0, len(q), size))


def weights_of(q: Tensor, k: Tensor, mask: Tensor | None, scale: float, here: slice) -> Tensor:
    """Attention weights of some rows (n, H, T, S)."""
    scores = torch.matmul(q[here] * scale, k[here].transpose(-1, -2))
    if mask is not None:
        seen = mask if len(mask) == 1 else mask[here]
        scores = scores.masked_fill_(~seen, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


class LeanAttention(torch.autograd.Function):
    """Attention of q (B, H, T, D) to k and v (B, H, S, D) by a mask (1 or B, 1, 1 or T, S), with dropout at `rate`."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, rate: float) -> Tensor:
        """(B, H, T, D)."""
        kept = drawn((*q.shape[:3], k.shape[2]), rate) if rate else None
        out = torch.empty_like(q)
        with torch.autocast(q.device.type, enabled=False):
            for here in chunks(q, k):
                weights = weights_of(q, k, mask, scale, here)
                if kept is not None:
                    weights *= kept[here]
                torch.matmul(weights, v[here], out=out[here])
        if rate:
            out *= 1 / (1 - rate)
        ctx.save_for_backward(q, k, v, mask, kept)
        ctx.scale, ctx.rate = scale, rate
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of q, k and v."""
        q, k, v, mask, kept = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        grad = grad * (1 / (1 - ctx.rate))
        for here in chunks(q, k):
            weights = weights_of(q, k, mask, ctx.scale, here)
            given = weights if kept is None else weights * kept[here]
            torch.matmul(given.transpose(-1, -2), grad[here], out=dv[here])
            slope = torch.matmul(grad[here], v[here].transpose(-1, -2))
            slope = slope if kept is None else slope.mul_(kept[here])
            slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype).mul_(ctx.scale)
            torch.matmul(slope, k[here], out=dq[here])
            torch.matmul(slope.transpose(-1, -2), q[here], out=dk[here])
        return dq, dk, dv, None, None, None


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
