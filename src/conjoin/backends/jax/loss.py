"""Ids, labels and the loss in JAX."""

from typing import Any

import numpy as np

import jax
import jax.numpy as jnp
from conjoin.errors import InputError
from conjoin.inputs import TOKENS, check_between, foreign

__all__ = [
    "check_range",
    "cross_entropy",
    "first_seen",
    "given",
    "is_traced",
    "selected",
    "shift_right",
    "size",
]

Array = Any  # a jax.Array


def is_traced(x: Any) -> bool:
    """Whether an array has no values yet, being traced by a transformation."""
    return isinstance(x, jax.core.Tracer)


def size(x: Array, axis: int) -> int:
    """The length of an axis."""
    return int(x.shape[axis])


def given(**arrays: Any) -> list[Array | None]:
    """What a call was given, as JAX arrays; whole numbers as int32. Raises InputError for another framework's tensors."""
    return [None if x is None else as_array(name, x) for name, x in arrays.items()]


def checked(name: str, x: Any) -> Any:
    """One array as it came, a list as NumPy's. Raises InputError for another framework's."""
    if not isinstance(x, jax.Array | np.ndarray | list | tuple | np.generic):
        raise InputError(foreign(name, x, "a JAX or NumPy array"))
    return x if isinstance(x, jax.Array) else np.asarray(x)


def as_array(name: str, x: Any) -> Array:
    """One array."""
    found = checked(name, x)
    if found.dtype == np.bool_ or jnp.issubdtype(found.dtype, jnp.floating):
        return jnp.asarray(found)
    return jnp.asarray(found, jnp.int32)


def check_range(ids: Array, count: int, what: str, sentence: str = TOKENS) -> None:
    """Raises InputError for an id that is not one of 0 to count - 1; not checked where the values are not known yet."""
    if is_traced(ids) or ids.size == 0:
        return
    values = np.asarray(ids)
    check_between(int(values.min()), int(values.max()), count, what, sentence)


def shift_right(labels: Array, start: int, pad: int, ignored: int) -> Array:
    """(B, T) -> the start token, then the labels but for the last; `pad` for `ignored`."""
    shifted = jnp.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=start)
    return jnp.where(shifted == ignored, pad, shifted)


def first_seen(mask: Array) -> Array:
    """The mask, with the first column True."""
    return mask.at[:, 0].set(True)


def selected(x: Array, labels: Array, keep: Array) -> tuple[Array, Array]:
    """All rows: shapes are fixed, and labels that count for nothing are left out of the loss."""
    return x, labels


def cross_entropy(logits: Array, labels: Array, ignored: int, count: Any, smoothing: float = 0.0) -> Array:
    """Mean over the labels that are not ignored, or their sum over `count`. In float32 or wider.

    With `smoothing`, so much of each label is spread evenly over the vocabulary (https://arxiv.org/abs/1512.00567).
    """
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    counts = labels != ignored
    each = jax.nn.logsumexp(wide, -1) - jnp.take_along_axis(wide, jnp.where(counts, labels, 0)[..., None], -1)[..., 0]
    if smoothing:
        each = (1 - smoothing) * each + smoothing * (jax.nn.logsumexp(wide, -1) - wide.mean(-1))
    total = jnp.where(counts, each, 0.0).sum()
    return total / (jnp.maximum(counts.sum(), 1) if count is None else count)
