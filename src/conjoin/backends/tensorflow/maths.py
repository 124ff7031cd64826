"""The maths of a stack in TensorFlow: heads, attention, the cache, the vocabulary projection."""

import math
from typing import Any

import keras

import tensorflow as tf
from conjoin.backends.tensorflow.loss import is_traced, size

__all__ = [
    "attention",
    "first_row",
    "merge_heads",
    "scaled",
    "split_heads",
    "split_joined_heads",
    "tanh",
    "unembed",
    "visible",
    "window",
    "write",
]

FEW = 64  # rows of hidden states that a step of decoding has


def split_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """(B, T, W) -> (B, H, T, D)."""
    return tf.transpose(tf.reshape(x, (size(x, 0), size(x, 1), heads, x.shape[-1] // heads)), (0, 2, 1, 3))


def split_joined_heads(x: tf.Tensor, heads: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(B, T, 3 W), q, k and v side by side -> three of (B, H, T, D)."""
    q, k, v = tf.split(x, 3, -1)
    return split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """(B, H, T, D) -> (B, T, W)."""
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (size(x, 0), size(x, 2), x.shape[1] * x.shape[3]))


def attention(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | None, scale: float, dropout: Any, want_weights: bool
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Scaled dot-product attention, with its weights (B, H, T, S)."""
    k, v = tf.cast(k, q.dtype), tf.cast(v, q.dtype)
    scores = tf.matmul(q * tf.cast(scale, q.dtype), k, transpose_b=True)
    if mask is not None:
        scores = tf.where(mask, scores, scores.dtype.min)
    weights = tf.nn.softmax(scores)
    return tf.matmul(dropout(weights), v), weights if want_weights else None


def unembed(table: Any, x: tf.Tensor, bias: Any) -> tf.Tensor:
    """Hidden states (..., W) -> logits (..., V)."""
    weight = tf.cast(table.embeddings.value, x.dtype)
    lead = [size(x, axis) for axis in range(len(x.shape) - 1)]
    shift = None if bias is None else tf.cast(bias.value, x.dtype)
    flat = tf.reshape(x, (-1, x.shape[-1]))
    if is_traced(x) and None not in x.shape and 1 < math.prod(lead) <= FEW:
        # A step of decoding: XLA is up to a third faster with the table first. What stands between product and
        # transpose changes nothing, and keeps XLA from turning the product back.
        logits = tf.matmul(weight, flat, transpose_b=True)
        logits = tf.maximum(logits, logits.dtype.min) if shift is None else logits + shift[:, None]
        return tf.reshape(tf.transpose(logits), (*lead, weight.shape[0]))
    logits = tf.matmul(flat, weight, transpose_b=True)
    return tf.reshape(logits if shift is None else logits + shift, (*lead, weight.shape[0]))


def scaled(x: tf.Tensor, scale: float) -> tf.Tensor:
    """x * scale, with nothing done for 1."""
    return x if scale == 1.0 else x * tf.cast(scale, x.dtype)


def first_row(table: Any) -> tf.Tensor:
    """The first row of a table, which broadcasts over all tokens: what type 0 everywhere would look up."""
    return tf.cast(table.embeddings[0], table.compute_dtype)


def tanh(gate: Any) -> tf.Tensor:
    """Of a gate, in the type that is computed in."""
    return tf.tanh(tf.cast(gate.value, gate.compute_dtype))


def write(buffer: tf.Tensor, x: tf.Tensor, at: Any) -> tf.Tensor:
    """x (B, H, T, D) in slots at, at + 1... of buffer (B, H, slots, D); in place within a compiled loop."""
    return keras.ops.slice_update(buffer, (0, 0, at, 0), tf.cast(x, buffer.dtype))


def visible(buffer: tf.Tensor, at: Any, x: tf.Tensor) -> tf.Tensor:
    """All slots: shapes are fixed, and a mask hides those that are not filled."""
    return buffer


def window(filled: Any, slots: int) -> int:
    """How many slots a mask must cover: all."""
    return slots
