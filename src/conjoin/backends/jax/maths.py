"""The maths of a stack in JAX: heads, attention, the cache, the vocabulary projection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

import jax
import jax.numpy as jnp
from conjoin.backends.jax.layers import Constant
from conjoin.backends.jax.loss import cross_entropy, is_traced

__all__ = [
    "attention",
    "block_count",
    "blocked",
    "capped",
    "channels_last",
    "convolved",
    "dots",
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
    "vocabulary_loss",
    "window",
    "windows",
    "write",
]

Array = Any  # a jax.Array


def split_heads(x: Array, heads: int) -> Array:
    """(B, T, W) -> (B, H, T, D)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(1, 2)


def regrouped(x: Array, heads: int) -> Array:
    """(B, H, T, D) -> (B, heads, T * H / heads, D), or back."""
    return x.reshape(x.shape[0], heads, -1, x.shape[-1])


def tiled(mask: Array, times: int) -> Array:
    """A mask (B, 1, T, S), its queries several times over; one row that is for all queries stays so."""
    return mask if mask.shape[2] == 1 else jnp.tile(mask, (1, 1, times, 1))


def merge_heads(x: Array) -> Array:
    """(B, H, T, D) -> (B, T, W)."""
    x = x.swapaxes(1, 2)
    return x.reshape(*x.shape[:2], -1)


def attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    scale: float,
    dropout: nnx.Dropout,
    want_weights: bool,
    bias: Array | None = None,
    cap: float = 0.0,
    packing: None = None,
) -> tuple[Array, Array | None]:
    """Scaled dot-product attention, with its weights (B, H, T, S).

    `bias` is added to the scores, and `cap` squeezes them by tanh.
    """
    k, v = k.astype(q.dtype), v.astype(q.dtype)
    scores = jnp.einsum("bhtd,bhsd->bhts", q * scale, k)
    scores = scores if bias is None else scores + bias
    scores = capped(scores, cap) if cap else scores
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores)
    return jnp.einsum("bhts,bhsd->bhtd", dropout(weights), v), weights if want_weights else None


def unembed(table: Any, x: Array, bias: Any) -> Array:
    """Hidden states (..., W) -> logits (..., V)."""
    weight = table.embedding[...].astype(x.dtype)
    logits = jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    return logits if bias is None else logits + bias[...].astype(logits.dtype)


def capped(x: Array, cap: float) -> Array:
    """Squeezed by tanh to lie within -cap and cap."""
    return cap * jnp.tanh(x / cap)


def vocabulary_loss(
    table: Any, x: Array, bias: Any, cap: float, labels: Array, ignored: int, count: Any, smoothing: float
) -> Array:
    """`cross_entropy` of the logits of x (..., W) by a vocabulary's table and bias, squeezed by `cap`."""
    logits = unembed(table, x, bias)
    return cross_entropy(capped(logits, cap) if cap else logits, labels, ignored, count, smoothing)


def turns(positions: Array, frequencies: Sequence[float], scale: float, like: Array) -> tuple[Array, Array]:
    """Cosines and sines (1 or B, 1, T, pairs) of rotary positions (1 or B, T), in like's type."""
    angles = positions[:, None, :, None].astype(jnp.float32) * jnp.asarray(frequencies, jnp.float32)
    return (jnp.cos(angles) * scale).astype(like.dtype), (jnp.sin(angles) * scale).astype(like.dtype)


def turned(x: Array, cosines: Array, sines: Array, interleaved: bool) -> Array:
    """x (B, H, T, D) with the first numbers of each head turned in pairs, the rest as they are."""
    pairs = cosines.shape[-1]
    turning, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if interleaved:
        a, b = turning[..., ::2], turning[..., 1::2]
        both = jnp.stack([a * cosines - b * sines, b * cosines + a * sines], -1).reshape(turning.shape)
    else:
        a, b = turning[..., :pairs], turning[..., pairs:]
        both = jnp.concatenate([a * cosines - b * sines, b * cosines + a * sines], -1)
    return jnp.concatenate([both, rest], -1) if rest.shape[-1] else both


def sloped(slopes: Constant, keys: Array, like: Array) -> Array:
    """(H,) slopes times the places of keys (1, S) -> (1, H, 1, S), in like's type."""
    return (slopes.value[None, :, None, None] * keys[:, None, None, :].astype(jnp.float32)).astype(like.dtype)


def looked_up(table: Constant, rows: Array, like: Array) -> Array:
    """Rows (...) of a constant table, in like's type."""
    return jnp.asarray(table.value)[rows].astype(like.dtype)


def heads_first(x: Array) -> Array:
    """(1, T, S, H) -> (1, H, T, S)."""
    return x.transpose(0, 3, 1, 2)


def channels_last(x: Array) -> Array:
    """(B, C, ...) -> (B, ..., C)."""
    return jnp.moveaxis(x, 1, -1)


def in_line(x: Array) -> Array:
    """(B, height, width, C) -> (B, height * width, C), row by row."""
    return x.reshape(x.shape[0], -1, x.shape[-1])


def mixed(weights: np.ndarray[Any, Any], x: Array) -> Array:
    """Rows (new, ...) that are sums of the rows of x (..., old, C), by weights (new, old); in float32."""
    return jnp.matmul(weights, x.astype(jnp.float32)).astype(x.dtype)


def gathered(x: Array, rows: np.ndarray[Any, Any]) -> Array:
    """Rows (...) of x (N, C), by numbers that are known beforehand."""
    return x[rows]


def stretched(x: Array, by: nnx.Variable[Any]) -> Array:
    """x (..., W) times a vector (W,) that a module keeps."""
    return x * by[...].astype(x.dtype)


def scaled(x: Array, scale: float) -> Array:
    """x * scale, with nothing done for 1."""
    return x if scale == 1.0 else x * scale


def first_row(table: nnx.Embed) -> Array:
    """The first row of a table, which broadcasts over all tokens: what type 0 everywhere would look up."""
    return table.embedding[0]


def write(buffer: Array, x: Array, at: Any) -> Array:
    """x (B, H, T, D) in slots at, at + 1... of buffer (B, H, slots, D)."""
    return jax.lax.dynamic_update_slice(buffer, x.astype(buffer.dtype), (0, 0, at, 0))


def visible(buffer: Array, at: Any, x: Array) -> Array:
    """All slots: shapes are fixed, and a mask hides those that are not filled."""
    return buffer


def window(filled: Any, slots: int) -> int:
    """How many slots a mask must cover: all."""
    return slots


def dots(a: Array, b: Array) -> Array:
    """Every product of a (B, H, T, D) with b (1 or B, H, S, D) -> (B, H, T, S)."""
    return jnp.matmul(a, b.swapaxes(-1, -2).astype(a.dtype))


def skewed(x: Array) -> Array:
    """x (B, H, T, 2T), by distance from 1 - T on, as pairs (B, H, T, T): of the token i places on, at T - 1 + i - its own."""
    batch, heads, length, _ = x.shape
    shifted = x.reshape(batch, heads, -1)[..., length - 1 : length - 1 + length * (2 * length - 1)]
    return shifted.reshape(batch, heads, length, 2 * length - 1)[..., :length]


def transposed(x: Array) -> Array:
    """The last two axes in turn."""
    return x.swapaxes(-1, -2)


def values(parameter: Any) -> Array:
    """Of a parameter that a module keeps by itself."""
    return parameter[...]


def convolved(x: Array, weight: Array) -> Array:
    """x (B, T, C) over neighbouring tokens by a weight (out, C, kernel), an odd number -> (B, T, out)."""
    layout = ("NWC", "OIW", "NWC")
    return jax.lax.conv_general_dilated(x, weight.astype(x.dtype), (1,), "SAME", dimension_numbers=layout)


def most(flags: Array) -> int:
    """The most of a row (B, T) that are True, at least 1; all, where the values are not known yet."""
    return int(flags.shape[1]) if is_traced(flags) else max(1, int(flags.sum(1).max()))


def repeated(x: Array, times: int) -> Array:
    """Each row (B, ...) several times, one after another (B * times, ...)."""
    return jnp.repeat(x, times, 0)


def block_count(length: int, size: int) -> int:
    """How many blocks of a size hold so many tokens."""
    return -(-length // size)


def blocked(x: Array, size: int) -> Array:
    """x (B, T, W) in n blocks of tokens (B * n, size, W), the last one filled with zeros."""
    missing = block_count(x.shape[1], size) * size - x.shape[1]
    return jnp.pad(x, ((0, 0), (0, missing), (0, 0))).reshape(-1, size, x.shape[2])


def unblocked(x: Array, length: int) -> Array:
    """Blocks (B * n, size, W) as (B, length, W)."""
    return x.reshape(-1, block_count(length, x.shape[1]) * x.shape[1], x.shape[2])[:, :length]


def windows(x: Array, size: int) -> Array:
    """x (B, T) or (B, T, W) as each of n blocks sees it, with the one before and the one after: (B * n, 3 size, ...).

    Beyond either end are zeros, or False.
    """
    missing = block_count(x.shape[1], size) * size - x.shape[1]
    padded = jnp.pad(x, ((0, 0), (size, missing + size), *((0, 0),) * (x.ndim - 2)))
    blocks = padded.reshape(x.shape[0], -1, size, *x.shape[2:])
    return jnp.concatenate([blocks[:, :-2], blocks[:, 1:-1], blocks[:, 2:]], 2).reshape(-1, 3 * size, *x.shape[2:])


def framed(x: Array, size: int) -> Array:
    """x (B, T, W) with so many tokens of zeros before and after."""
    return jnp.pad(x, ((0, 0), (size, size), (0, 0)))
