"""The maths of a stack in PyTorch: heads, attention, the cache, the vocabulary projection."""

from typing import Any

import torch
import torch.nn.functional as F
from conjoin.backends.torch.layers import VocabularyProjection
from torch import Tensor
from torch.nn import Dropout, Embedding, Module

__all__ = [
    "attention",
    "explicit_attention",
    "first_row",
    "merge_heads",
    "scaled",
    "slow_backward",
    "split_heads",
    "split_joined_heads",
    "unembed",
    "visible",
    "window",
    "write",
]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, W) -> (B, H, T, D)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def split_joined_heads(x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, 3 W), q, k and v side by side -> three of (B, H, T, D)."""
    q, k, v = x.reshape(*x.shape[:-1], 3, heads, x.shape[-1] // (3 * heads)).permute(2, 0, 3, 1, 4)
    return q, k, v


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, W)."""
    return x.transpose(1, 2).flatten(2)


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, dropout: Dropout, want_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention; its weights only where they are asked for, since the fused kernels keep none."""
    rate = dropout.p if dropout.training else 0.0
    if want_weights or slow_backward(q):
        return explicit_attention(q, k, v, mask, scale, rate)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=rate, scale=scale), None


def slow_backward(q: Tensor) -> bool:
    """On a CPU the fused kernel's backward pass in half precision takes two to six times the explicit one's."""
    return q.requires_grad and q.device.type == "cpu" and q.dtype in (torch.bfloat16, torch.float16)


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, rate: float
) -> tuple[Tensor, Tensor]:
    """Attention product by product, with its weights (B, H, T, S)."""
    with torch.autocast(q.device.type, enabled=False):
        scores = torch.matmul(q * scale, k.to(q.dtype).transpose(-1, -2))
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        return torch.matmul(F.dropout(weights, rate, training=rate > 0), v.to(q.dtype)), weights


def unembed(table: Module, x: Tensor, bias: Tensor | None) -> Tensor:
    """Hidden states (..., W) -> logits (..., V)."""
    if isinstance(table, VocabularyProjection):
        return table.unembed(x, bias)
    weight: Any = table.weight
    return F.linear(x, weight, bias)


def scaled(x: Tensor, scale: float) -> Tensor:
    """x * scale, with nothing done for 1."""
    return x if scale == 1.0 else x * scale


def first_row(table: Embedding) -> Tensor:
    """The first row of a table, which broadcasts over all tokens: what type 0 everywhere would look up."""
    row: Tensor = table.weight[0]
    return row


def write(buffer: Tensor, x: Tensor, at: int) -> Tensor:
    """Writes x (B, H, T, D) into slots at, at + 1... of buffer (B, H, slots, D): in place where no gradient is asked for."""
    if torch.is_grad_enabled():
        buffer = buffer.clone()
    buffer[:, :, at : at + x.shape[2]] = x
    return buffer


def visible(buffer: Tensor, at: int, x: Tensor) -> Tensor:
    """The slots of a cache that are filled once x was written at `at`. Frameworks with fixed shapes give all of them."""
    return buffer[:, :, : at + x.shape[2]]


def window(filled: int, slots: int) -> int:
    """How many slots a mask must cover when `filled` of `slots` are: just these."""
    return filled
