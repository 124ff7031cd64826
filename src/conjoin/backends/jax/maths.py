"""The maths of a stack in JAX: heads, attention, the cache, the vocabulary projection."""

from typing import Any

from flax import nnx

import jax
import jax.numpy as jnp

__all__ = [
    "attention",
    "first_row",
    "merge_heads",
    "scaled",
    "split_heads",
    "split_joined_heads",
    "unembed",
    "visible",
    "window",
    "write",
]

Array = Any  # a jax.Array


def split_heads(x: Array, heads: int) -> Array:
    """(B, T, W) -> (B, H, T, D)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(1, 2)


def split_joined_heads(x: Array, heads: int) -> tuple[Array, Array, Array]:
    """(B, T, 3 W), q, k and v side by side -> three of (B, H, T, D)."""
    q, k, v = jnp.split(x, 3, -1)
    return split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)


def merge_heads(x: Array) -> Array:
    """(B, H, T, D) -> (B, T, W)."""
    x = x.swapaxes(1, 2)
    return x.reshape(*x.shape[:2], -1)


def attention(
    q: Array, k: Array, v: Array, mask: Array | None, scale: float, dropout: nnx.Dropout, want_weights: bool
) -> tuple[Array, Array | None]:
    """Scaled dot-product attention, with its weights (B, H, T, S)."""
    k, v = k.astype(q.dtype), v.astype(q.dtype)
    scores = jnp.einsum("bhtd,bhsd->bhts", q * scale, k)
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores)
    return jnp.einsum("bhts,bhsd->bhtd", dropout(weights), v), weights if want_weights else None


def unembed(table: Any, x: Array, bias: Any) -> Array:
    """Hidden states (..., W) -> logits (..., V)."""
    weight = table.embedding[...].astype(x.dtype)
    logits = jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    return logits if bias is None else logits + bias[...].astype(logits.dtype)


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
