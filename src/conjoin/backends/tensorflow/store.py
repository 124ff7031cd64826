"""A model's parameters by name in TensorFlow: to list, to read, to place, to share and to freeze; dtypes and devices.

Names and layouts are PyTorch's, as everywhere in conjoin: a linear weight is (out, in), and turned on the way in and out.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

import tensorflow as tf
from conjoin.backends.tensorflow.layers import (
    Conv,
    Module,
    OutputEmbedding,
    RMSNorm,
    TimeNorm,
    Vector,
    children,
    remade,
)
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
    "named_gradients",
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

OURS: dict[type, dict[str, str]] = {  # the name that a variable has with us, and with Keras
    keras.layers.Dense: {"weight": "kernel", "bias": "bias"},
    keras.layers.Embedding: {"weight": "embeddings"},
    OutputEmbedding: {"weight": "embeddings"},
    keras.layers.LayerNormalization: {"weight": "gamma", "bias": "beta"},
    RMSNorm: {"weight": "scale"},
    Conv: {"weight": "weight", "gain": "gain", "bias": "bias"},
    TimeNorm: {"weight": "weight", "bias": "bias"},
}
NpArray = np.ndarray[Any, Any]


class Placement(NamedTuple):
    """The type that parameters get, None for their file's, and where they go."""

    dtype: Any
    device: Any


def placement(dtype: Any = None, device: Any = None) -> Placement:
    """From a type's name and a device ("cpu", "gpu:0", "/GPU:0"). Raises InputError for what is neither."""
    found = None
    if dtype is not None and dtype != "auto":
        try:
            name = dtype if isinstance(dtype, str) else tf.as_dtype(dtype).name
        except TypeError:
            name = ""
        found = name.removeprefix("tf.")
        if found not in FLOATS:
            raise no_dtype(dtype)
    return Placement(found, found_device(device))


def found_device(device: Any) -> str | None:
    """A device of TensorFlow by its name."""
    if device is None:
        return None
    kind, _, index = str(device).lower().strip("/").removeprefix("device:").partition(":")
    name = f"{'gpu' if kind == 'cuda' else kind}:{index or 0}"
    there = [one.name.lower().removeprefix("/device:") for one in tf.config.list_logical_devices()]
    if name not in there:
        raise InputError(f'device is "{device}", and TensorFlow has no such one here; it has {", ".join(there)}.')
    return f"/device:{name.upper()}"


def blank(make: Callable[[], Any], where: Placement) -> Any:
    """A model of zeros, its layers in the type and on the device that are asked for."""
    policy = keras.config.dtype_policy()
    try:
        if where.dtype is not None:
            keras.config.set_dtype_policy(where.dtype)
        with tf.device(where.device):
            return make()
    finally:
        keras.config.set_dtype_policy(policy)


def owners(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf layer and vector by name, under each name that it has."""
    for name, value in children(module):
        if isinstance(value, Module) and not isinstance(value, OutputEmbedding | RMSNorm | Conv | TimeNorm):
            yield from owners(value, f"{path}{name}.")
        else:
            yield path + name, value


def variables(model: Any) -> dict[str, Any]:
    """Every parameter and saved value by name, a shared one once."""
    found: dict[int, tuple[str, Any]] = {}
    for name, owner in owners(model):
        if isinstance(owner, Vector):
            found.setdefault(id(owner), (name, owner))
        for ours, theirs in OURS.get(type(owner), {}).items():
            variable = getattr(owner, theirs)
            if variable is None:  # a layer without a bias
                continue
            found.setdefault(id(variable), (f"{name}.{ours}", variable))
    return dict(found.values())


def holder(model: Any, path: Iterable[str]) -> Any:
    """The module at the end of some steps."""
    for step in path:
        model = model[int(step)] if step.isdecimal() else getattr(model, step)
    return model


def leaf(model: Any, name: str) -> tuple[Any, bool]:
    """The variable of a name, and whether it lies turned."""
    *path, last = name.split(".")
    owner = holder(model, path)
    attribute = OURS.get(type(owner), {}).get(last, last)
    return getattr(owner, attribute), attribute == "kernel"


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each, in PyTorch's layout."""
    turned = {name for name in variables(model) if leaf(model, name)[1]}
    return {n: tuple(v.shape)[::-1] if n in turned else tuple(v.shape) for n, v in variables(model).items()}


def read(model: Any, name: str) -> NpArray:
    """A parameter's values, in PyTorch's layout."""
    variable, turned = leaf(model, name)
    values: NpArray = variable.value.numpy()
    return values.T if turned else values


def named_arrays(model: Any) -> dict[str, NpArray]:
    """All of them."""
    return {name: read(model, name) for name in variables(model)}


def place(model: Any, name: str, array: NpArray, where: Placement) -> None:
    """Puts values, in PyTorch's layout, where a parameter is; a layer of another type is made anew for them."""
    variable, turned = leaf(model, name)
    kind = where.dtype or str(array.dtype)
    if variable.dtype != kind and not (where.dtype is None and is_mixed(model, name)):
        retype(model, name, kind)
        variable, _ = leaf(model, name)
    values = np.ascontiguousarray(array.T if turned else array)
    variable.assign(values.astype(variable.dtype) if values.dtype != variable.dtype else values)


def is_mixed(model: Any, name: str) -> bool:
    """Whether a parameter belongs to a layer that computes in another type than it keeps its parameters in."""
    owner = holder(model, name.split(".")[:-1])
    return bool(owner.compute_dtype != owner.variable_dtype)


def owner_of(model: Any, name: str) -> Any:
    """The leaf layer that a parameter is in, or the vector that it is."""
    found = dict(owners(model))
    return found[name] if name in found else found[name.rpartition(".")[0]]


def retype(model: Any, name: str, kind: str) -> None:
    """Makes the layer of a parameter anew, in another type, with its values; wherever the model has it."""
    owner = owner_of(model, name)
    new = remade(owner, keras.dtype_policies.get(kind))
    for was, now in zip(variables_of(owner), variables_of(new), strict=True):
        now.assign(tf.cast(was.value, kind))
    renew(model, owner, new)


def resize(model: Any, name: str, array: NpArray) -> None:
    """Makes the layer of a parameter anew, with values of another number of rows; wherever the model has it."""
    owner = owner_of(model, name)
    (old,) = variables_of(owner)
    with tf.device(old.value.device):
        new = remade(owner, owner.dtype_policy, rows=len(array))
    variables_of(new)[0].assign(array)
    renew(model, owner, new)


def variables_of(owner: Any) -> list[Any]:
    """The variables of a leaf layer, or the vector itself."""
    return [owner] if isinstance(owner, Vector) else list(owner.variables)


def renew(model: Any, owner: Any, new: Any) -> None:
    """Puts a leaf layer or a vector in the place of another, wherever the model has it; names, and what is frozen, stay."""
    for was, now in zip(variables_of(owner), variables_of(new), strict=True):
        now.trainable, now._name, now._path = was.trainable, was._name, was._path
    if not isinstance(new, Vector):
        new.name = owner.name
    for path in [path for path, one in owners(model) if one is owner]:
        *outer, attribute = path.split(".")
        exchange(holder(model, outer), attribute, new)


def exchange(module: Any, attribute: str, new: Any) -> None:
    """Puts a layer or a vector in the place of another, of which Keras then knows nothing more."""
    if isinstance(module, list):  # Keras's, which knows what goes and what comes
        if module[int(attribute)] is not new:
            module.pop(int(attribute))
            module.insert(int(attribute), new)
        return
    old = getattr(module, attribute)
    setattr(module, attribute, new)
    if old is not new:
        module._tracker.untrack(old)


def materialise(model: Any, names: Iterable[str], where: Placement) -> None:
    """Gives the named parameters, of which some came from no file, the type that is asked for, or that of the first."""
    kind = where.dtype or dtype_name(model)
    for name in names:
        if leaf(model, name)[0].dtype != kind:
            retype(model, name, kind)


def rewrite(model: Any, name: str, change: Callable[[NpArray], NpArray]) -> None:
    """Replaces a parameter's values by a function of them, in its own type and place."""
    place(model, name, change(read(model, name)), Placement(leaf(model, name)[0].dtype, None))


def share(model: Any, partner: Any, names: Iterable[str]) -> None:
    """Makes the layers of the named parameters of a model those of its partner."""
    for path in dict.fromkeys(name.rsplit(".", 1)[0] for name in names):
        *outer, attribute = path.split(".")
        exchange(holder(model, outer), attribute, holder(partner, path.split(".")))


def dtype_name(model: Any) -> str:
    """The type of the parameters."""
    return str(next(iter(variables(model).values())).dtype)


def unified(model: Any) -> None:
    """Makes all parameters float32, where two parts came in different types."""
    for name in variables(model):
        if leaf(model, name)[0].dtype != "float32":
            retype(model, name, "float32")


def evaluating(model: Any) -> None:
    """Dropout is off but in training; what a model is given is turned into its parameters' type."""
    if model.compute_dtype == model.variable_dtype:
        model.dtype_policy = dtype_name(model)


def parameter_count(model: Any, only_trainable: bool) -> int:
    """How many numbers there are, each shared array counted once."""
    counted = variables(model)
    names = [n for n, v in counted.items() if v.trainable] if only_trainable else trainable_names(model)
    return sum(int(np.prod(counted[name].shape)) for name in names)


def trainable_names(model: Any) -> list[str]:
    """The parameters that can be trained, frozen ones included."""
    return [name for name, v in variables(model).items() if not getattr(v, "saved_only", False)]


def set_trained(model: Any, names: Iterable[str], on: bool) -> None:
    """Takes parameters out of training, or in again."""
    for name in names:
        leaf(model, name)[0].trainable = on


def normal(like: NpArray, std: float) -> NpArray:
    """Fresh values from a normal, in like's shape and type, of TensorFlow's global random state."""
    fresh: NpArray = tf.random.normal(like.shape, stddev=std).numpy().astype(like.dtype)
    return fresh


def best_device() -> None:
    """TensorFlow's own default."""


def chosen_device(device: Any) -> str | None:
    """Where a pipeline runs: TensorFlow's own default for None, 0 and "auto"; -1 is the CPU, other numbers count GPUs."""
    if device in (None, 0, "auto"):
        return None
    if isinstance(device, int):
        return found_device("cpu" if device == -1 else f"gpu:{device}")
    return found_device(device)


def moved(model: Any, device: Any, dtype: Any) -> None:
    """Moves a model where `device` and `dtype` say; what is None stays."""
    where = placement(dtype, chosen_device(device))
    with tf.device(where.device):
        for name in variables(model):
            kind = where.dtype or str(leaf(model, name)[0].dtype)
            if where.device is not None or kind != leaf(model, name)[0].dtype:
                retype(model, name, kind)
    evaluating(model)


def named_gradients(model: Any, gradients: Iterable[Any]) -> dict[str, NpArray]:
    """Gradients of `model.trainable_variables` by conjoin's names, in PyTorch's layout; zeros where there is none."""
    found = {id(v): g for v, g in zip(model.trainable_variables, gradients, strict=True)}
    by_name: dict[str, NpArray] = {}
    for name, variable in variables(model).items():
        if id(variable) in found:
            gradient = found[id(variable)]
            values = (
                np.zeros(variable.shape, np.float32) if gradient is None else tf.convert_to_tensor(gradient).numpy()
            )
            by_name[name] = values.T if leaf(model, name)[1] else values
    return by_name


def free_memory(model: Any) -> int | None:
    """Bytes that the host has left; None where there is a GPU, of which TensorFlow does not say."""
    return None if tf.config.list_logical_devices("GPU") else host_free()
