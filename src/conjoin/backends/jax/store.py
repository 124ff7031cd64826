"""A model's parameters by name in JAX: to list, to read, to place, to share and to freeze; and dtypes and devices.

Names and layouts are PyTorch's, as everywhere in conjoin: a linear weight is (out, in), and turned on the way in and out.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

import jax
import jax.numpy as jnp
from conjoin.backends.jax.layers import Buffer, FrozenParam, OutputEmbedding, RMSNorm
from conjoin.decoding.budget import host_free
from conjoin.errors import FLOATS, InputError, no_dtype

__all__ = [
    "Placement",
    "best_device",
    "blank",
    "chosen_device",
    "dtype_name",
    "evaluating",
    "free_memory",
    "materialise",
    "moved",
    "named_arrays",
    "normal",
    "parameter_count",
    "place",
    "placement",
    "read",
    "resize",
    "rewrite",
    "set_trained",
    "shapes",
    "share",
    "trainable_names",
    "unified",
]

WEIGHT: dict[type, str] = {
    nnx.Linear: "kernel",
    nnx.Embed: "embedding",
    OutputEmbedding: "embedding",
    nnx.LayerNorm: "scale",
    RMSNorm: "scale",
}
THEIR_NAMES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}
KINDS = (nnx.Param, FrozenParam, Buffer)
NpArray = np.ndarray[Any, Any]


class Placement(NamedTuple):
    """The type that parameters get, None for their file's, and where they go."""

    dtype: Any
    device: Any


def placement(dtype: Any = None, device: Any = None) -> Placement:
    """From a type's name and a device, its platform ("cpu", "gpu") or a sharding. Raises InputError for what is neither."""
    found = None
    if dtype is not None and dtype != "auto":
        try:
            name = dtype if isinstance(dtype, str) else jnp.dtype(dtype).name
        except TypeError:
            name = ""
        name = name.removeprefix("jnp.").removeprefix("jax.numpy.")
        if name not in FLOATS:
            raise no_dtype(dtype)
        found = jnp.dtype(name)
    return Placement(found, found_device(device))


def found_device(device: Any) -> Any:
    """A device of JAX, by itself or by its platform's name."""
    if not isinstance(device, str):
        return device
    platform, _, index = device.partition(":")
    try:
        return jax.devices(platform)[int(index or 0)]
    except (RuntimeError, IndexError, ValueError):
        there = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise InputError(f'device is "{device}", and JAX has no such one here; it has {there}.') from None


def blank(make: Callable[[], Any], where: Placement) -> Any:
    """A model whose parameters have shapes and no values yet."""
    return make()


def leaf(model: Any, name: str) -> tuple[Any, str, bool]:
    """The module of a named parameter, the attribute that it is there, and whether it lies turned."""
    *path, last = name.split(".")
    for step in path:
        model = model[int(step)] if step.isdecimal() else getattr(model, step)
    attribute = WEIGHT.get(type(model), last) if last == "weight" else last
    return model, attribute, attribute == "kernel"


def variables(model: Any) -> dict[str, Any]:
    """Every parameter and saved value by name, a shared one once."""
    found = {}
    for path, node in nnx.iter_graph(model):
        if isinstance(node, KINDS):
            *steps, last = path
            found[".".join([*map(str, steps), THEIR_NAMES.get(last, last)])] = node
    return found


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each, in PyTorch's layout."""
    turned = {id(v) for _, m in nnx.iter_modules(model) if isinstance(m, nnx.Linear) for v in (m.kernel,)}
    return {n: v.shape[::-1] if id(v) in turned else tuple(v.shape) for n, v in variables(model).items()}


def read(model: Any, name: str) -> NpArray:
    """A parameter's values, in PyTorch's layout."""
    module, attribute, turned = leaf(model, name)
    values = np.asarray(getattr(module, attribute).get_value())
    return values.T if turned else values


def named_arrays(model: Any) -> dict[str, NpArray]:
    """All of them."""
    return {name: read(model, name) for name in variables(model)}


def place(model: Any, name: str, array: NpArray, where: Placement) -> None:
    """Puts values, in PyTorch's layout, where a parameter is; in memory of their own."""
    module, attribute, turned = leaf(model, name)
    values = np.ascontiguousarray(array.T if turned else array)
    values = np.array(values, dtype=where.dtype or array.dtype)  # always a copy
    getattr(module, attribute).set_value(jax.device_put(values, where.device))


def materialise(model: Any, names: Iterable[str], where: Placement) -> None:
    """Gives zeros to those of the named parameters that have no values yet."""
    for name in names:
        module, attribute, turned = leaf(model, name)
        value = getattr(module, attribute).get_value()
        if isinstance(value, np.ndarray):
            zeros = np.zeros(value.shape, value.dtype)
            place(model, name, zeros.T if turned else zeros, where)


def rewrite(model: Any, name: str, change: Callable[[NpArray], NpArray]) -> None:
    """Replaces a parameter's values by a function of them, in its own type and place."""
    module, attribute, _ = leaf(model, name)
    value = getattr(module, attribute)[...]
    place(model, name, change(read(model, name)), Placement(value.dtype, value.sharding))


def resize(model: Any, name: str, array: NpArray) -> None:
    """Puts values of another number of rows where a parameter is; its type, its place and whether it is trained stay."""
    rewrite(model, name, lambda old: array)
    module, _, _ = leaf(model, name)
    if isinstance(module, nnx.Embed):
        module.num_embeddings = len(array)


def share(model: Any, partner: Any, names: Iterable[str]) -> None:
    """Makes the named parameters of a model those of its partner."""
    for name in names:
        ours, attribute, _ = leaf(model, name)
        setattr(ours, attribute, getattr(leaf(partner, name)[0], attribute))


def dtype_name(model: Any) -> str:
    """The type of the parameters."""
    return str(next(iter(variables(model).values())).dtype.name)


def unified(model: Any) -> None:
    """Makes all parameters float32, where two parts came in different types."""
    for name in variables(model):
        place(model, name, read(model, name), Placement(np.float32, None))


def evaluating(model: Any) -> None:
    """Dropout off."""
    model.eval()


def parameter_count(model: Any, only_trainable: bool) -> int:
    """How many numbers there are, each shared array counted once."""
    kinds = nnx.Param if only_trainable else (nnx.Param, FrozenParam)
    return sum(int(np.prod(v.shape)) for v in variables(model).values() if isinstance(v, kinds))


def trainable_names(model: Any) -> list[str]:
    """The parameters that can be trained, frozen ones included."""
    return [n for n, v in variables(model).items() if not isinstance(v, Buffer)]


def set_trained(model: Any, names: Iterable[str], on: bool) -> None:
    """Takes parameters out of training, or in again: what is no nnx.Param gets no gradient and no optimiser state."""
    kind = nnx.Param if on else FrozenParam
    changed: dict[int, Any] = {}
    found = variables(model)
    for name in names:
        if type(found[name]) is not kind:
            changed[id(found[name])] = kind(found[name].get_value())
    for _, module in list(nnx.iter_modules(model)):
        for attribute, value in list(vars(module).items()):
            if id(value) in changed:
                setattr(module, attribute, changed[id(value)])


def normal(like: NpArray, std: float) -> NpArray:
    """Fresh values from a normal, in like's shape and type, of `conjoin.flax`'s seed or NumPy's global random state."""
    fresh: NpArray = np.asarray(np.random.standard_normal(like.shape) * std, dtype=like.dtype)
    return fresh


def best_device() -> None:
    """JAX's own default."""


def chosen_device(device: Any) -> Any:
    """Where a pipeline runs: JAX's own default for None, 0 and "auto"; -1 is the CPU, other numbers count its devices."""
    if device in (None, 0, "auto"):
        return None
    if isinstance(device, int) and not 0 < device < len(jax.devices()):
        if device == -1:
            return jax.devices("cpu")[0]
        raise InputError(f"device is {device}; JAX has {len(jax.devices())} here. -1 is the CPU.")
    return jax.devices()[device] if isinstance(device, int) else found_device(device)


def moved(model: Any, device: Any, dtype: Any) -> None:
    """Moves a model where `device` and `dtype` say; what is None stays."""
    where = placement(dtype, chosen_device(device))
    for name in variables(model):
        place(model, name, read(model, name), where)


def free_memory(model: Any) -> int | None:
    """Bytes that the first device has left; None where nobody says."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return host_free()
    facts = device.memory_stats() or {}
    return int(facts["bytes_limit"] - facts["bytes_in_use"]) if "bytes_limit" in facts else None
