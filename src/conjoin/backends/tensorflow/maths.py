"""The maths of a stack in TensorFlow: heads, attention, the cache, the vocabulary projection."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import tensorflow as tf
from conjoin.backends.tensorflow.layers import Constant
from conjoin.backends.tensorflow.loss import cross_entropy, is_traced, size

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
    "tanh",
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

FEW = 64  # rows of hidden states that a step of decoding has


def split_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """(B, T, W) -> (B, H, T, D)."""
    return tf.transpose(tf.reshape(x, (size(x, 0), size(x, 1), heads, x.shape[-1] // heads)), (0, 2, 1, 3))


def regrouped(x: tf.Tensor, heads: int) -> tf.Tensor:
    """(B, H, T, D) -> (B, heads, T * H / heads, D), or back."""
    tokens = size(x, 2) * x.shape[1] // heads
    return tf.reshape(x, (size(x, 0), heads, tokens, size(x, 3)))


def tiled(mask: tf.Tensor, times: int) -> tf.Tensor:
    """A mask (B, 1, T, S), its queries several times over; one row that is for all queries stays so."""
    return mask if mask.shape[2] == 1 else tf.tile(mask, (1, 1, times, 1))


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """(B, H, T, D) -> (B, T, W)."""
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (size(x, 0), size(x, 2), x.shape[1] * x.shape[3]))


def attention(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    mask: tf.Tensor | None,
    scale: float,
    dropout: Any,
    want_weights: bool,
    bias: tf.Tensor | None = None,
    cap: float = 0.0,
    packing: None = None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Scaled dot-product attention, with its weights (B, H, T, S).

    `bias` is added to the scores, and `cap` squeezes them by tanh.
    """
    k, v = tf.cast(k, q.dtype), tf.cast(v, q.dtype)
    scores = tf.matmul(q * tf.cast(scale, q.dtype), k, transpose_b=True)
    scores = scores if bias is None else scores + bias
    scores = capped(scores, cap) if cap else scores
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


def capped(x: tf.Tensor, cap: float) -> tf.Tensor:
    """Squeezed by tanh to lie within -cap and cap."""
    return cap * tf.tanh(x / cap)


def vocabulary_loss(
    table: Any, x: tf.Tensor, bias: Any, cap: float, labels: tf.Tensor, ignored: int, count: Any, smoothing: float
) -> tf.Tensor:
    """`cross_entropy` of the logits of x (..., W) by a vocabulary's table and bias, squeezed by `cap`."""
    logits = unembed(table, x, bias)
    return cross_entropy(capped(logits, cap) if cap else logits, labels, ignored, count, smoothing)


def turns(positions: tf.Tensor, frequencies: Sequence[float], scale: float, like: tf.Tensor) -> tuple[Any, Any]:
    """Cosines and sines (1 or B, 1, T, pairs) of rotary positions (1 or B, T), in like's type."""
    angles = tf.cast(positions, tf.float32)[:, None, :, None] * tf.constant(frequencies, tf.float32)
    return tf.cast(tf.cos(angles) * scale, like.dtype), tf.cast(tf.sin(angles) * scale, like.dtype)


def turned(x: tf.Tensor, cosines: tf.Tensor, sines: tf.Tensor, interleaved: bool) -> tf.Tensor:
    """x (B, H, T, D) with the first numbers of each head turned in pairs, the rest as they are."""
    pairs = cosines.shape[-1]
    turning, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if interleaved:
        a, b = turning[..., ::2], turning[..., 1::2]
        both = tf.reshape(tf.stack([a * cosines - b * sines, b * cosines + a * sines], -1), tf.shape(turning))
    else:
        a, b = turning[..., :pairs], turning[..., pairs:]
        both = tf.concat([a * cosines - b * sines, b * cosines + a * sines], -1)
    return tf.concat([both, rest], -1) if rest.shape[-1] else both


def sloped(slopes: Constant, keys: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """(H,) slopes times the places of keys (1, S) -> (1, H, 1, S), in like's type."""
    return tf.cast(slopes.values[None, :, None, None] * tf.cast(keys, tf.float32)[:, None, None, :], like.dtype)


def looked_up(table: Constant, rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Rows (...) of a constant table, in like's type."""
    return tf.cast(tf.gather(tf.constant(table.values), rows), like.dtype)


def heads_first(x: tf.Tensor) -> tf.Tensor:
    """(1, T, S, H) -> (1, H, T, S)."""
    return tf.transpose(x, (0, 3, 1, 2))


def channels_last(x: tf.Tensor) -> tf.Tensor:
    """(B, C, ...) -> (B, ..., C)."""
    return tf.transpose(x, (0, *range(2, len(x.shape)), 1))


def in_line(x: tf.Tensor) -> tf.Tensor:
    """(B, height, width, C) -> (B, height * width, C), row by row."""
    return tf.reshape(x, (size(x, 0), size(x, 1) * size(x, 2), x.shape[-1]))


def mixed(weights: np.ndarray[Any, Any], x: tf.Tensor) -> tf.Tensor:
    """Rows (new, ...) that are sums of the rows of x (..., old, C), by weights (new, old); in float32."""
    return tf.cast(tf.matmul(tf.constant(weights), tf.cast(x, tf.float32)), x.dtype)


def gathered(x: tf.Tensor, rows: np.ndarray[Any, Any]) -> tf.Tensor:
    """Rows (...) of x (N, C), by numbers that are known beforehand."""
    return tf.gather(x, tf.constant(rows))


def stretched(x: tf.Tensor, by: Any) -> tf.Tensor:
    """x (..., W) times a vector (W,) that a module keeps."""
    return x * tf.cast(by.value, x.dtype)


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


def dots(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Every product of a (B, H, T, D) with b (1 or B, H, S, D) -> (B, H, T, S)."""
    return tf.matmul(a, tf.cast(b, a.dtype), transpose_b=True)


def skewed(x: tf.Tensor) -> tf.Tensor:
    """x (B, H, T, 2T), by distance from 1 - T on, as pairs (B, H, T, T): of the token i places on, at T - 1 + i - its own."""
    batch, heads, length = size(x, 0), x.shape[1], size(x, 2)
    flat = tf.reshape(x, (batch, heads, 2 * length * length))
    shifted = flat[..., length - 1 : length - 1 + length * (2 * length - 1)]
    return tf.reshape(shifted, (batch, heads, length, 2 * length - 1))[..., :length]


def transposed(x: tf.Tensor) -> tf.Tensor:
    """The last two axes in turn."""
    return tf.transpose(x, (*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2))


def values(parameter: Any) -> tf.Tensor:
    """Of a parameter that a module keeps by itself, in the type that is computed in."""
    return tf.cast(parameter.value, parameter.compute_dtype)


def convolved(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """x (B, T, C) over neighbouring tokens by a weight (out, C, kernel), an odd number -> (B, T, out)."""
    return tf.nn.conv1d(x, tf.transpose(weight, (2, 1, 0)), 1, "SAME")


def most(flags: tf.Tensor) -> Any:
    """The most of a row (B, T) that are True, at least 1; all, where the values are not known yet."""
    if is_traced(flags):
        return size(flags, 1)
    return max(1, int(tf.reduce_max(tf.reduce_sum(tf.cast(flags, tf.int32), 1))))


def repeated(x: tf.Tensor, times: Any) -> tf.Tensor:
    """Each row (B, ...) several times, one after another (B * times, ...)."""
    return tf.repeat(x, times, 0)


def block_count(length: Any, width: int) -> Any:
    """How many blocks of a size hold so many tokens."""
    return -(-length // width)


def blocked(x: tf.Tensor, width: int) -> tf.Tensor:
    """x (B, T, W) in n blocks of tokens (B * n, width, W), the last one filled with zeros."""
    missing = block_count(size(x, 1), width) * width - size(x, 1)
    return tf.reshape(tf.pad(x, [[0, 0], [0, missing], [0, 0]]), (-1, width, x.shape[2]))


def unblocked(x: tf.Tensor, length: Any) -> tf.Tensor:
    """Blocks (B * n, width, W) as (B, length, W)."""
    width = x.shape[1]
    return tf.reshape(x, (-1, block_count(length, width) * width, x.shape[2]))[:, :length]


def windows(x: tf.Tensor, width: int) -> tf.Tensor:
    """x (B, T) or (B, T, W) as each of n blocks sees it, with the one before and the one after: (B * n, 3 width, ...).

    Beyond either end are zeros, or False.
    """
    blocks = block_count(size(x, 1), width)
    padded = tf.pad(x, [[0, 0], [width, (blocks + 1) * width - size(x, 1)], *[[0, 0]] * (len(x.shape) - 2)])
    cut = tf.reshape(padded, (size(x, 0), blocks + 2, width, *x.shape[2:]))
    return tf.reshape(tf.concat([cut[:, :-2], cut[:, 1:-1], cut[:, 2:]], 2), (-1, 3 * width, *x.shape[2:]))


def framed(x: tf.Tensor, width: int) -> tf.Tensor:
    """x (B, T, W) with so many tokens of zeros before and after."""
    return tf.pad(x, [[0, 0], [width, width], [0, 0]])
