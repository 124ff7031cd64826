"""The maths of a stack in PyTorch: heads, attention, the cache, the vocabulary projection."""

from typing import Any

import numpy as np

import torch
import torch.nn.functional as F
from conjoin.backends.torch.layers import Constant, VocabularyProjection
from conjoin.backends.torch.lean import LeanAttention
from conjoin.backends.torch.unpadding import Packing
from torch import Tensor
from torch.nn import Dropout, Embedding, Module

__all__ = [
    "attention",
    "block_count",
    "blocked",
    "capped",
    "channels_last",
    "convolved",
    "dots",
    "explicit_attention",
    "first_row",
    "framed",
    "gathered",
    "heads_first",
    "in_line",
    "looked_up",
    "merge_heads",
    "mixed",
    "most",
    "regrouped",
    "repeated",
    "scaled",
    "skewed",
    "sloped",
    "slow_backward",
    "split_heads",
    "stretched",
    "tiled",
    "transposed",
    "turned",
    "turns",
    "unblocked",
    "unembed",
    "values",
    "visible",
    "window",
    "windows",
    "write",
]

SPEEDS: dict[tuple[float, ...], Constant] = {}  # of rotary positions, kept on the device that they were last used on
MOST_SPEEDS = 32


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, W) -> (B, H, T, D)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def regrouped(x: Tensor, heads: int) -> Tensor:
    """(B, H, T, D) -> (B, heads, T * H / heads, D), or back."""
    return x.reshape(x.shape[0], heads, -1, x.shape[-1])


def tiled(mask: Tensor, times: int) -> Tensor:
    """A mask (B, 1, T, S), its queries several times over; one row that is for all queries stays so."""
    return mask if mask.shape[2] == 1 else mask.repeat(1, 1, times, 1)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, W)."""
    return x.transpose(1, 2).flatten(2)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    dropout: Dropout,
    want_weights: bool,
    bias: Tensor | None = None,
    cap: float = 0.0,
    packing: Packing | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention; its weights only where they are asked for, since the fused kernels keep none.

    `bias` is added to the scores, and `cap` squeezes them by tanh. `packing` is that of the queries, of which those that it
    leaves out are nobody's.
    """
    rate = dropout.p if dropout.training else 0.0
    if not (want_weights or cap or bias is not None) and is_lean(q, k, rate):
        kind = q.dtype
        lengths = None if packing is None else packing.lengths
        return LeanAttention.apply(q, k.to(kind), v.to(kind), mask, scale, rate, lengths), None  # type: ignore[no-untyped-call]
    if want_weights or cap or slow_backward(q):
        return explicit_attention(q, k, v, mask, scale, rate, bias, cap)
    if bias is not None:
        mask = bias if mask is None else bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=rate, scale=scale), None


def is_lean(q: Tensor, k: Tensor, rate: float) -> bool:
    """Whether attention trains on a CPU with dropout, or in half precision, where the fused kernel is slow or keeps much."""
    if torch.compiler.is_compiling() or not q.requires_grad or q.device.type != "cpu" or q.shape[:2] != k.shape[:2]:
        return False
    return rate > 0 or slow_backward(q)


def slow_backward(q: Tensor) -> bool:
    """On a CPU the fused kernel's backward pass in half precision takes two to six times the explicit one's."""
    return q.requires_grad and q.device.type == "cpu" and q.dtype in (torch.bfloat16, torch.float16)


def explicit_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    rate: float,
    bias: Tensor | None,
    cap: float,
) -> tuple[Tensor, Tensor]:
    """Attention product by product, with its weights (B, H, T, S)."""
    with torch.autocast(q.device.type, enabled=False):
        scores = torch.matmul(q * scale, k.to(q.dtype).transpose(-1, -2))
        scores = scores if bias is None else scores + bias
        scores = capped(scores, cap) if cap else scores
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


def capped(x: Tensor, cap: float) -> Tensor:
    """Squeezed by tanh to lie within -cap and cap."""
    return cap * torch.tanh(x / cap)


def turns(positions: Tensor, frequencies: tuple[float, ...], scale: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (1 or B, 1, T, pairs) of rotary positions (1 or B, T), in like's type."""
    angles = positions[:, None, :, None].float() * speeds(frequencies, like.device)
    return (angles.cos() * scale).to(like.dtype), (angles.sin() * scale).to(like.dtype)


def speeds(frequencies: tuple[float, ...], device: torch.device) -> Tensor:
    """Rotary speeds on a device, where they stay; while a graph is traced, whose tensors are not to be kept, those that did."""
    if frequencies not in SPEEDS:
        if torch.compiler.is_compiling():
            return torch.tensor(frequencies, dtype=torch.float32, device=device)
        if len(SPEEDS) == MOST_SPEEDS:  # they may differ with every length
            SPEEDS.clear()
        SPEEDS[frequencies] = Constant(np.asarray(frequencies, np.float32))
    return SPEEDS[frequencies].on(device)


def turned(x: Tensor, cosines: Tensor, sines: Tensor, interleaved: bool) -> Tensor:
    """x (B, H, T, D) with the first numbers of each head turned in pairs, the rest as they are."""
    pairs = cosines.shape[-1]
    turning, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if interleaved:
        a, b = turning[..., ::2], turning[..., 1::2]
        both = torch.stack([a * cosines - b * sines, b * cosines + a * sines], -1).flatten(-2)
    else:
        a, b = turning[..., :pairs], turning[..., pairs:]
        both = torch.cat([a * cosines - b * sines, b * cosines + a * sines], -1)
    return torch.cat([both, rest], -1) if rest.shape[-1] else both


def sloped(slopes: Constant, keys: Tensor, like: Tensor) -> Tensor:
    """(H,) slopes times the places of keys (1, S) -> (1, H, 1, S), in like's type."""
    return (slopes.on(like.device)[None, :, None, None] * keys[:, None, None, :].float()).to(like.dtype)


def looked_up(table: Constant, rows: Tensor, like: Tensor) -> Tensor:
    """Rows (...) of a constant table, in like's type."""
    return table.on(like.device)[rows].to(like.dtype)


def heads_first(x: Tensor) -> Tensor:
    """(1, T, S, H) -> (1, H, T, S)."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, ...) -> (B, ..., C)."""
    return x.movedim(1, -1)


def in_line(x: Tensor) -> Tensor:
    """(B, height, width, C) -> (B, height * width, C), row by row."""
    return x.flatten(1, 2)


def mixed(weights: np.ndarray[Any, Any], x: Tensor) -> Tensor:
    """Rows (new, ...) that are sums of the rows of x (..., old, C), by weights (new, old); in float32."""
    return (torch.from_numpy(weights).to(x.device) @ x.float()).to(x.dtype)


def gathered(x: Tensor, rows: np.ndarray[Any, Any]) -> Tensor:
    """Rows (...) of x (N, C), by numbers that are known beforehand."""
    return x[torch.from_numpy(rows).to(x.device)]


def stretched(x: Tensor, by: Tensor) -> Tensor:
    """x (..., W) times a vector (W,) that a module keeps."""
    return x * by


def scaled(x: Tensor, scale: float) -> Tensor:
    """x * scale, with nothing done for 1."""
    return x if scale == 1.0 else x * scale


def first_row(table: Embedding) -> Tensor:
    """The first row of a table, which broadcasts over all tokens: what type 0 everywhere would look up."""
    row: Tensor = table.weight[0]
    return row


def write(buffer: Tensor, x: Tensor, at: int | Tensor | None) -> Tensor:
    """Writes x (B, H, T, D) into slots at, at + 1... of buffer (B, H, slots, D): in place where no gradient is asked for.

    Where `at` is None the buffer has no free slots, and x is put behind it: the form of a graph that is exported. Where it is
    a tensor () the step is one of fixed shapes, whose every number lies on the device.
    """
    if at is None:
        return torch.cat([buffer, x], 2)
    if torch.is_grad_enabled():
        buffer = buffer.clone()
    if isinstance(at, Tensor):
        return buffer.index_copy_(2, at + torch.arange(x.shape[2], device=x.device), x.to(buffer.dtype))
    buffer[:, :, at : at + x.shape[2]] = x
    return buffer


def visible(buffer: Tensor, at: int | Tensor | None, x: Tensor) -> Tensor:
    """The slots of a cache that are filled once x was written at `at`. Where shapes are fixed, all of them."""
    return buffer if at is None or isinstance(at, Tensor) else buffer[:, :, : at + x.shape[2]]


def window(filled: int, slots: int) -> int:
    """How many slots a mask must cover when `filled` of `slots` are: just these."""
    return filled


def dots(a: Tensor, b: Tensor) -> Tensor:
    """Every product of a (B, H, T, D) with b (1 or B, H, S, D) -> (B, H, T, S)."""
    return torch.matmul(a, b.transpose(-1, -2))


def skewed(x: Tensor) -> Tensor:
    """x (B, H, T, 2T), by distance from 1 - T on, as pairs (B, H, T, T): of the token i places on, at T - 1 + i - its own."""
    length = x.shape[2]
    shifted = x.flatten(2)[..., length - 1 : length - 1 + length * (2 * length - 1)]
    return shifted.view(*x.shape[:2], length, 2 * length - 1)[..., :length]


def transposed(x: Tensor) -> Tensor:
    """The last two axes in turn."""
    return x.transpose(-1, -2)


def values(parameter: Tensor) -> Tensor:
    """Of a parameter that a module keeps by itself."""
    return parameter


def convolved(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, T, C) over neighbouring tokens by a weight (out, C, kernel), an odd number -> (B, T, out)."""
    return F.conv1d(x.transpose(1, 2), weight, padding=weight.shape[2] // 2).transpose(1, 2)


def most(flags: Tensor) -> int:
    """The most of a row (B, T) that are True, at least 1."""
    return max(1, int(flags.sum(1).max()))


def repeated(x: Tensor, times: int) -> Tensor:
    """Each row (B, ...) several times, one after another (B * times, ...)."""
    # In the place of repeat_interleave, which torch 2.13 exports wrongly.
    return x[:, None].expand(-1, times, *x.shape[1:]).flatten(0, 1)


def block_count(length: int, size: int) -> int:
    """How many blocks of a size hold so many tokens; by a division of positive numbers, which graphs know one kind of."""
    return (length + size - 1) // size


def blocked(x: Tensor, size: int) -> Tensor:
    """x (B, T, W) in n blocks of tokens (B * n, size, W), the last one filled with zeros."""
    missing = block_count(x.shape[1], size) * size - x.shape[1]
    return F.pad(x, (0, 0, 0, missing)).reshape(-1, size, x.shape[2])


def unblocked(x: Tensor, length: int) -> Tensor:
    """Blocks (B * n, size, W) as (B, length, W)."""
    return x.reshape(-1, block_count(length, x.shape[1]) * x.shape[1], x.shape[2])[:, :length]


def windows(x: Tensor, size: int) -> Tensor:
    """x (B, T) or (B, T, W) as each of n blocks sees it, with the one before and the one after: (B * n, 3 size, ...).

    Beyond either end are zeros, or False.
    """
    missing = block_count(x.shape[1], size) * size - x.shape[1]
    padded = F.pad(x, (*(0, 0) * (x.dim() - 2), size, missing + size))
    blocks = padded.reshape(x.shape[0], -1, size, *x.shape[2:])
    return torch.cat([blocks[:, :-2], blocks[:, 1:-1], blocks[:, 2:]], 2).flatten(0, 1)


def framed(x: Tensor, size: int) -> Tensor:
    """x (B, T, W) with so many tokens of zeros before and after."""
    return F.pad(x, (0, 0, size, size))
