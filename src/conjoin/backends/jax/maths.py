"""The maths of a stack in JAX: heads, attention, the cache, the vocabulary projection."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import nnx

import jax
import jax.numpy as jnp
from conjoin.backends.jax.layers import Constant

__all__ = [
    "attention",
    "capped",
    "channels_last",
    "first_row",
    "gathered",
    "heads_first",
    "in_line",
    "looked_up",
    "merge_heads",
    "mixed",
    "regrouped",
    "scaled",
    "sloped",
    "split_heads",
    "stretched",
    "tiled",
    "turned",
    "turns",
    "unembed",
    "visible",
    "window",
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


def sloped(slopes: np.ndarray[Any, Any], keys: Array, like: Array) -> Array:
    """(H,) slopes times the places of keys (1, S) -> (1, H, 1, S), in like's type."""
    return (slopes[None, :, None, None] * keys[:, None, None, :].astype(jnp.float32)).astype(like.dtype)


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
