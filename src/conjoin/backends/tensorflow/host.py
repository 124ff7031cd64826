"""What generates for a Keras model on the engine: its backend over NumPy, with TensorFlow's random numbers, and the model's
arrays."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tensorflow as tf
from conjoin.backends.tensorflow.generating import drawn as drawn_by_tensorflow
from conjoin.backends.tensorflow.generating import noise as compiled_noise
from conjoin.backends.tensorflow.loss import as_array
from conjoin.backends.tensorflow.store import leaf
from conjoin.engine.arrays import address
from conjoin.engine.host.hosting import padded_noise
from conjoin.engine.host.ops import *  # noqa: F403

Array = np.ndarray[Any, Any]


def noise(seed: Any, batch: int, count: int) -> Callable[[Array, int, Array], Array]:
    """The very numbers that the compiled program draws, in which rows are padded."""
    drawing = compiled_noise(seed, batch, count)
    return padded_noise(drawing, lambda shape, length: exponential(shape)(drawing.key, tf.constant(length)), batch)


@functools.lru_cache(maxsize=64)
def exponential(shape: tuple[int, ...]) -> Any:
    """The noise of a step, as XLA draws it."""
    return tf.function(lambda key, length: drawn_by_tensorflow(key, length, shape), jit_compile=True, autograph=False)


def has_no_values(x: Any) -> bool:
    """Whether an array has no values yet; within a tf.function none has."""
    return not tf.executing_eagerly() or (tf.is_tensor(x) and bool(tf.is_symbolic_tensor(x)))


def parameters(model: Any) -> list[Any]:
    """The values of a model's variables; those of variables on several devices as they are."""
    return [value_of(v.value) for v in model.weights]


def value_of(variable: Any) -> Any:
    """A variable's value, where it lies."""
    if isinstance(variable, tf.distribute.DistributedValues):
        return variable
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def remembered(parameters: Sequence[Any]) -> list[Any]:
    """Their memory: while somebody has it, TensorFlow writes new values of a variable elsewhere."""
    return [x if isinstance(x, tf.distribute.DistributedValues) else np.asarray(x) for x in parameters]


def unchanged(known: Sequence[Any], parameters: Sequence[Any]) -> bool:
    """Whether all lie where they did."""
    return len(known) == len(parameters) and all(map(alike, known, parameters))


def alike(known: Any, now: Any) -> bool:
    """Whether a variable's value is the one that was known."""
    return known is now or (
        isinstance(known, np.ndarray) and tf.is_tensor(now) and address(known) == address(np.asarray(now))
    )


def here(parameters: Sequence[Any]) -> bool:
    """Whether all lie on the CPU, and on one."""
    return all(tf.is_tensor(x) and ":CPU:" in x.device for x in parameters)


def reader(model: Any, parameters: Sequence[Any]) -> Callable[[str], Array]:
    """Each parameter by name, where it lies."""

    def by_name(name: str) -> Array:
        variable, turned = leaf(model, name)
        found = np.asarray(value_of(variable.value))
        found = found.view(np.uint16) if found.dtype.name == "bfloat16" else found
        return found.T if turned else found

    return by_name


def as_host(name: str, x: Any) -> Array:
    """A call's array. Raises InputError for another framework's."""
    found: Array = as_array(name, x).numpy()
    return found.astype(np.float32) if not np.issubdtype(found.dtype, np.integer) and found.dtype != np.bool_ else found


def from_host(x: Array) -> Any:
    """A result as TensorFlow has it in a program of its own."""
    return tf.constant(x, tf.int32 if x.dtype == np.int64 else None)
