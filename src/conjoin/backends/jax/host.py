"""What generates for a Flax model on the engine: its backend over NumPy, with JAX's random numbers, and the model's arrays."""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flax import nnx

import jax
import jax.numpy as jnp
from conjoin.backends.jax.generating import noise as compiled_noise
from conjoin.backends.jax.loss import checked
from conjoin.backends.jax.store import KINDS, read
from conjoin.engine.host.hosting import padded_noise
from conjoin.engine.host.ops import *  # noqa: F403

Array = np.ndarray[Any, Any]


def noise(seed: Any, batch: int, count: int) -> Callable[[Array, int, Array], Array]:
    """The very numbers that the compiled program draws, in which rows are padded."""
    drawing = compiled_noise(seed, batch, count)
    return padded_noise(drawing, lambda shape, length: exponential(drawing.key, length, shape), batch)


@functools.partial(jax.jit, static_argnums=2)
def exponential(key: Any, length: Any, shape: tuple[int, ...]) -> Any:
    """The noise of a step."""
    return jax.random.exponential(jax.random.fold_in(key, length), shape)


def has_no_values(x: Any) -> bool:
    """Whether a transformation is tracing an array."""
    return isinstance(x, jax.core.Tracer)


def parameters(model: Any) -> list[Any]:
    """The arrays of a model's variables, in the order of its modules."""
    found: list[Any] = []
    gather(model, found, set())
    return found


def gather(node: Any, found: list[Any], seen: set[int]) -> None:
    """Adds the arrays of a module, or of a list of them, each module's once."""
    if isinstance(node, KINDS):
        found.append(node.get_value())
    elif isinstance(node, nnx.Module) and id(node) not in seen:
        seen.add(id(node))
        for value in vars(node).values():
            gather(value, found, seen)
    elif isinstance(node, list | nnx.List):
        for value in node:
            gather(value, found, seen)


def remembered(parameters: Sequence[Any]) -> list[Any]:
    """Who they are: an array never changes, and a variable that does has another one."""
    return [weakref.ref(x) for x in parameters]


def unchanged(known: Sequence[Any], parameters: Sequence[Any]) -> bool:
    """Whether they are the very same arrays."""
    return len(known) == len(parameters) and all(a() is b for a, b in zip(known, parameters, strict=True))


def here(parameters: Sequence[Any]) -> bool:
    """Whether all are values, each whole on one CPU."""
    return all(
        isinstance(x, jax.Array)
        and not has_no_values(x)
        and len(x.devices()) == 1
        and next(iter(x.devices())).platform == "cpu"
        for x in parameters
    )


def reader(model: Any, parameters: Sequence[Any]) -> Callable[[str], Array]:
    """Each parameter by name, where it lies."""

    def by_name(name: str) -> Array:
        found = read(model, name)
        return found.view(np.uint16) if found.dtype.name == "bfloat16" else found

    return by_name


def as_host(name: str, x: Any) -> Array:
    """A call's array. Raises InputError for another framework's."""
    found = np.asarray(checked(name, x))
    return found.astype(np.float32) if jnp.issubdtype(found.dtype, jnp.floating) else found


def from_host(x: Array) -> Any:
    """A result as JAX has it in a program of its own."""
    return jnp.asarray(x.astype(np.int32) if x.dtype == np.int64 else x)
