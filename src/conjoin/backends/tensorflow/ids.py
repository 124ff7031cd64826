"""What decoding does with ids, with steps that are recorded, and with slots of the cache, in TensorFlow."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import tensorflow as tf
from conjoin.backends.tensorflow.arrays import broadcast, false, flags, merged, padded
from conjoin.backends.tensorflow.loss import is_traced
from conjoin.errors import InputError
from tensorflow.compiler.tf2xla.python.xla import dynamic_slice

__all__ = [
    "added_at",
    "all_seen",
    "by_step",
    "column",
    "constant_row",
    "entry",
    "equal_anywhere",
    "filled",
    "grown",
    "is_in",
    "is_single",
    "lineage",
    "longest",
    "marked",
    "one_of",
    "own_slots",
    "room_for_steps",
    "set_column",
    "slot",
    "token_column",
    "with_step",
]


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


def longest(lengths: Sequence[Any]) -> Any:
    """The largest of some lengths: of one, since all rows stay together."""
    return lengths[0]


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
