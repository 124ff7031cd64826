"""Array operations in TensorFlow. In decoding rows are sources, the last axis is tokens or vocabulary, shapes are fixed."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import tensorflow as tf
from conjoin.backends.tensorflow.loss import is_traced
from conjoin.errors import InputError
from tensorflow.compiler.tf2xla.python.xla import dynamic_slice

__all__ = [
    "absolute",
    "added_at",
    "all_of",
    "all_seen",
    "any_of",
    "arange",
    "argmax",
    "best_of_sums",
    "broadcast",
    "by_step",
    "clipped",
    "column",
    "concat",
    "constant_row",
    "cumsum",
    "divided",
    "entry",
    "equal_anywhere",
    "exp",
    "false",
    "filled",
    "flags",
    "flat",
    "full",
    "greatest",
    "grown",
    "inverse",
    "is_in",
    "is_single",
    "last_axis",
    "least",
    "lineage",
    "log_softmax",
    "longest",
    "marked",
    "merged",
    "normalised",
    "number",
    "one_of",
    "own_slots",
    "padded",
    "pick",
    "power",
    "reshaped",
    "rising",
    "room_for_steps",
    "set_column",
    "slot",
    "softmax",
    "sort",
    "summed",
    "take_last",
    "take_rows",
    "taken",
    "token_column",
    "top_k",
    "total",
    "true",
    "where",
    "while_loop",
    "whole",
    "wide",
    "with_step",
    "zeros",
]


absolute, exp = tf.abs, tf.exp


def clipped(x: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Within low and high."""
    return tf.clip_by_value(x, low, high)


def where(condition: tf.Tensor, x: Any, y: Any) -> tf.Tensor:
    """x where the condition holds and y elsewhere; a number takes the type of the other."""
    kind = next((value.dtype for value in (x, y) if tf.is_tensor(value)), None)
    return tf.where(condition, tf.convert_to_tensor(x, kind), tf.convert_to_tensor(y, kind))


def arange(length: Any, like: tf.Tensor) -> tf.Tensor:
    """0, 1... length - 1."""
    return tf.range(length, dtype=tf.int32)


def concat(arrays: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """One after another along an axis."""
    return tf.concat(arrays, axis)


def zeros(shape: Sequence[Any], like: tf.Tensor, dtype: Any = None) -> tf.Tensor:
    """Zeros of like's type, or of `dtype`."""
    return tf.zeros(tuple(shape), dtype or like.dtype)


def full(shape: Sequence[Any], value: float, like: tf.Tensor) -> tf.Tensor:
    """A filled array of like's type."""
    return tf.fill(tuple(shape), tf.cast(value, like.dtype))


def padded(x: tf.Tensor, axis: int, length: Any, value: float) -> tf.Tensor:
    """x with `value` after its end along an axis, up to a length."""
    have = x.shape[axis]
    if have is None or not isinstance(length, int):
        missing = tf.maximum(length - tf.shape(x)[axis], 0)
    elif have >= length:
        return x
    else:
        missing = length - have
    ends = [[0, missing if i == axis else 0] for i in range(len(x.shape))]
    return tf.pad(x, ends, constant_values=tf.cast(value, x.dtype))


def cumsum(x: tf.Tensor) -> tf.Tensor:
    """Running sums along the last axis."""
    return tf.cumsum(tf.cast(x, tf.int32) if x.dtype.is_bool else x, -1)


def total(x: tf.Tensor) -> tf.Tensor:
    """Sums along the last axis; of booleans how many are True."""
    return tf.reduce_sum(tf.cast(x, tf.int32) if x.dtype.is_bool else x, -1)


def normalised(x: tf.Tensor) -> tf.Tensor:
    """Vectors along the last axis, of length one."""
    return x / tf.norm(x, axis=-1, keepdims=True)


def log_softmax(x: tf.Tensor) -> tf.Tensor:
    """In float32, along the last axis."""
    return tf.nn.log_softmax(tf.cast(x, tf.float32))


def broadcast(x: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """x in another shape."""
    return tf.broadcast_to(x, tuple(shape))


def wide(x: tf.Tensor) -> tf.Tensor:
    """In float32."""
    return tf.cast(x, tf.float32)


def softmax(x: tf.Tensor) -> tf.Tensor:
    """Along the last axis."""
    return tf.nn.softmax(x)


def argmax(x: tf.Tensor) -> tf.Tensor:
    """Where the largest of the last axis stands, the first of equals; two plain passes are faster than tf.argmax."""
    length = x.shape[-1]
    best = tf.reduce_max(x, -1, keepdims=True)
    return tf.reduce_min(tf.where(x == best, tf.range(length), length - 1), -1)


def top_k(x: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k largest of the last axis, best first, and where they stand; of equals the first."""
    values, at = tf.math.top_k(x, k)
    return values, at


def best_of_sums(scores: tf.Tensor, sums: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The k best (B, k) of all beams' continuations, scores (B, K, V) after sums (B, K), and where they stand in (B, K * V)."""
    return top_k(flat(scores + sums[..., None]), k)


def sort(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The last axis in rising order, and where each value of it stands in that order."""
    order = tf.argsort(x, -1, stable=True)
    return take_last(x, order), tf.argsort(order, -1, stable=True)


def rising(x: tf.Tensor) -> tf.Tensor:
    """Where the values of the last axis stand, in rising order."""
    return tf.argsort(x, -1, stable=True)


def summed(x: tf.Tensor) -> tf.Tensor:
    """(..., N) -> (..., 1)."""
    return tf.reduce_sum(x, -1, keepdims=True)


def whole(x: tf.Tensor) -> tf.Tensor:
    """As whole numbers."""
    return tf.cast(x, tf.int32)


def taken(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """x (N,) at indices of any shape."""
    return tf.gather(x, index)


def entry(table: np.ndarray[Any, Any], at: Any) -> tf.Tensor:
    """A table's value in float32, that of its ends beyond them."""
    return tf.gather(tf.constant(table.astype(np.float32)), tf.clip_by_value(at, 0, len(table) - 1))


def constant_row(values: Sequence[float], like: tf.Tensor) -> tf.Tensor:
    """Some numbers as a vector of like's type."""
    return tf.constant(np.array(values), like.dtype)


def added_at(x: tf.Tensor, tokens: Sequence[int], values: tf.Tensor) -> tf.Tensor:
    """x (B, K, V) with values (B, K, G) added at tokens, of which one may come several times."""
    by_token = tf.transpose(tf.reshape(values, (-1, len(tokens))))
    added = tf.math.unsorted_segment_sum(by_token, tf.constant(list(tokens)), x.shape[-1])
    return x + tf.reshape(tf.transpose(added), x.shape)


def room_for_steps(steps: int, shape: Sequence[int], like: tf.Tensor) -> tf.Tensor:
    """Where arrays of each step go, along the third axis."""
    return tf.zeros((*shape[:2], steps, *shape[2:]), tf.float32)


def with_step(room: tf.Tensor, at: Any, x: tf.Tensor) -> tf.Tensor:
    """The same with that of one step."""
    return keras.ops.slice_update(room, (0, 0, at, *[0] * (len(x.shape) - 2)), x[:, :, None])


def by_step(room: tf.Tensor, rows: int, steps: int) -> tuple[tf.Tensor, ...]:
    """Each step's (B, K, ...) as (rows * K, ...)."""
    return tuple(merged(room[:rows, :, at]) for at in range(steps))


def take_last(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """x at index along the last axis."""
    return tf.gather(x, index, axis=-1, batch_dims=len(x.shape) - 1)


def flat(x: tf.Tensor) -> tf.Tensor:
    """(B, K, V) -> (B, K * V)."""
    return tf.reshape(x, (x.shape[0], -1))


def merged(x: tf.Tensor) -> tf.Tensor:
    """(B, R, ...) -> (B * R, ...)."""
    return tf.reshape(x, (-1, *x.shape[2:]))


def reshaped(x: tf.Tensor, shape: Sequence[Any]) -> tf.Tensor:
    """x in another shape, of which one axis may be -1."""
    return tf.reshape(x, tuple(shape))


def pick(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """x (B, N, ...) at index (B, K) -> (B, K, ...)."""
    return tf.gather(x, index, axis=1, batch_dims=1)


def take_rows(x: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Some rows."""
    return tf.gather(x, index)


def inverse(order: tf.Tensor) -> tf.Tensor:
    """The permutation that undoes another."""
    return tf.math.invert_permutation(order)


def divided(x: tf.Tensor, by: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Quotient and remainder."""
    return x // by, x % by


def power(base: Any, exponent: float, most: int) -> tf.Tensor:
    """A whole number from 0 to `most` to a power, in float32 as rounded from double."""
    table = np.maximum(np.arange(most + 1, dtype=np.float64), 1.0 if exponent < 0 else 0.0) ** exponent
    return tf.gather(tf.constant(table.astype(np.float32)), base)


def number(x: tf.Tensor) -> tf.Tensor:
    """0.0 and 1.0 for False and True."""
    return tf.cast(x, tf.float32)


def least(x: tf.Tensor) -> tf.Tensor:
    """(B, K) -> (B, 1)."""
    return tf.reduce_min(x, 1, keepdims=True)


def greatest(x: tf.Tensor) -> tf.Tensor:
    """The largest of all."""
    return tf.reduce_max(x)


def longest(lengths: Sequence[Any]) -> Any:
    """The largest of some lengths: of one, since all rows stay together."""
    return lengths[0]


def all_of(x: tf.Tensor) -> tf.Tensor:
    """(B, K) -> (B,)."""
    return tf.reduce_all(x, 1)


def any_of(x: tf.Tensor) -> tf.Tensor:
    """(B, K) -> (B, 1)."""
    return tf.reduce_any(x, 1, keepdims=True)


def flags(x: tf.Tensor) -> tf.Tensor:
    """A mask of numbers or of booleans as booleans."""
    return tf.cast(x, tf.bool)


def false(like: tf.Tensor) -> tf.Tensor:
    """False, in like's shape."""
    return tf.zeros(like.shape, tf.bool)


def true(like: tf.Tensor) -> tf.Tensor:
    """True, broadcasting to like's shape."""
    return tf.constant(True)


def one_of(tokens: Sequence[int], like: tf.Tensor) -> tf.Tensor:
    """(V,) True at some tokens, for like (..., V)."""
    mask = np.zeros(like.shape[-1], bool)
    mask[list(tokens)] = True
    return tf.constant(mask)


def is_in(x: tf.Tensor, tokens: Sequence[int]) -> tf.Tensor:
    """Whether each is one of some tokens."""
    found = false(x)
    for token in tokens:
        found = found | (x == token)
    return found


def marked(ids: tf.Tensor, flags: tf.Tensor, vocab: int) -> tf.Tensor:
    """ids and flags (B, K, N) -> (B, K, V): the tokens that stand somewhere with a flag; ids beyond V are nobody's."""
    rows = ids.shape[0] * ids.shape[1]
    ids = tf.reshape(tf.where(flags & (ids >= 0) & (ids < vocab), ids, vocab), (rows, -1))
    at = ids + tf.range(rows)[:, None] * (vocab + 1)  # one column more, for what is nobody's
    found = tf.scatter_nd(tf.reshape(at, (-1, 1)), tf.ones(rows * ids.shape[1], tf.int32), (rows * (vocab + 1),))
    return tf.reshape(found, (*flags.shape[:2], vocab + 1))[..., :vocab] > 0


def column(ids: tf.Tensor, at: Any) -> tf.Tensor:
    """ids[..., at] as (..., 1)."""
    lead = ids.shape[:-1]
    return cut_out(ids, [*[0] * len(lead), tf.maximum(at, 0)], [*lead, 1])


def slot(x: tf.Tensor, at: Any) -> tf.Tensor:
    """x (B, T, W) at one token -> (B, 1, W)."""
    return cut_out(x, [0, at, 0], [x.shape[0], 1, x.shape[2]])


def cut_out(x: tf.Tensor, begin: Sequence[Any], shape: Sequence[int]) -> tf.Tensor:
    """A part of x. With tf.slice a program would be compiled again for each value of an argument that `begin` is made of."""
    return dynamic_slice(x, tf.stack(begin), shape)


def set_column(ids: tf.Tensor, at: Any, tokens: tf.Tensor) -> tf.Tensor:
    """ids with tokens in column `at`."""
    return keras.ops.slice_update(ids, (*[0] * (len(ids.shape) - 1), at), tf.cast(tokens[..., None], ids.dtype))


def last_axis(x: tf.Tensor) -> tf.Tensor:
    """(B, K, 1) -> (B, K); what has two axes stays."""
    return x[..., 0] if len(x.shape) == 3 else x


def own_slots(lineage: tf.Tensor, at: Any) -> tf.Tensor:
    """Marks, for each hypothesis, the slot it writes next as its own."""
    count, slots = lineage.shape[1:]
    return lineage | (tf.range(slots)[None, :] == at + tf.range(count)[:, None])[None]


def lineage(prompt: tf.Tensor, mask: tf.Tensor | None, count: int, slots: int) -> tf.Tensor | None:
    """(B, K, slots): the prompt's slots are everybody's past. None where there is nothing to hide."""
    if count == 1 and mask is None:
        return None
    batch, length = prompt.shape
    seen = tf.ones((batch, length), tf.bool) if mask is None else flags(mask)
    return broadcast(padded(seen, 1, slots, False)[:, None], (batch, count, slots))


def filled(length: Any, slots: int, like: tf.Tensor) -> tf.Tensor:
    """(1, 1, 1, slots) True where a slot of a cache is filled: what one hypothesis without lineage may see."""
    return (tf.range(slots) < length)[None, None, None]


def grown(prompt: tf.Tensor, count: int, length: int, fill: int, filled: Any) -> tf.Tensor:
    """(B, P) -> (B, K, L), the first `filled` tokens of the prompt, and `fill` after them."""
    prompt = tf.where(tf.range(prompt.shape[1]) < filled, prompt, fill)
    ids = padded(prompt, 1, length, fill)
    return broadcast(ids[:, None], (prompt.shape[0], count, length))


def token_column(token: int | Sequence[int], batch: int, like: tf.Tensor) -> tf.Tensor:
    """(B, 1): one token for all rows, or one a row. Raises InputError where the source's shape is not known yet."""
    if None in like.shape:
        raise InputError(
            f"generate() within tf.function needs known shapes and the source is {tuple(like.shape)}; pad to one length "
            f'with the tokenizer\'s padding="max_length", max_length=..., and give tf.function an input_signature without '
            f"None, or call generate outside of it."
        )
    return tf.broadcast_to(tf.reshape(tf.constant(token, tf.int32), (-1, 1)), (batch, 1))


def equal_anywhere(a: tf.Tensor, b: tf.Tensor) -> bool:
    """Whether two columns have an equal row; True where the values are not known yet."""
    return is_traced(a) or bool(tf.reduce_any(a == b))


def all_seen(seen: tf.Tensor) -> bool:
    """Whether a mask is known to hide nothing."""
    return not is_traced(seen) and bool(tf.reduce_all(seen))


def is_single(length: int, mask: tf.Tensor | None) -> bool:
    """Whether a prompt needs no mask: never, since the slots that are not filled must be hidden."""
    return False


def while_loop(more: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
    """Repeats `body` while `more` holds, as one compiled loop."""
    return tf.while_loop(more, lambda carried: [body(carried)], [state], parallel_iterations=1)[0]
