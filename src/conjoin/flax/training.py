"""Training in JAX: a pure loss function for `jax.grad` and optax, and parameters placed over a mesh of devices.

The model is an NNX module, so `nnx.value_and_grad` and `nnx.Optimizer` work on it as on any other. These functions are for
training loops over pure functions: `split` a model, train what is trained, and `update` the model at the end.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from conjoin.backends.jax import placement
from conjoin.errors import InputError
from conjoin.flax.model import FlaxEncoderDecoderModel

__all__ = ["loss_function", "place_batch", "place_parameters", "split", "update"]

Array = Any  # a jax.Array
Batch = Mapping[str, Any]
Loss = Callable[..., Array]


def split(model: FlaxEncoderDecoderModel) -> tuple[nnx.State, nnx.State]:
    """What is trained (every parameter that is not frozen), and all other state."""
    _, trained, rest = nnx.split(model, nnx.Param, ...)
    return trained, rest


def update(model: FlaxEncoderDecoderModel, trained: nnx.State) -> None:
    """Puts trained parameters into the model."""
    nnx.update(model, trained)


def loss_function(model: FlaxEncoderDecoderModel, *, dtype: Any = None) -> Loss:
    """`loss(trained, rest, batch, key=None)`, a pure function: the mean loss () of a batch's labels.

    `trained` and `rest` are as `split` gives them; `batch` has the arguments of the model by name: input_ids and
    attention_mask (B, S), labels (B, T) and, where gradients are accumulated, num_items_in_batch. With a `key` there is
    dropout, drawn from it. With `dtype="bfloat16"` the model computes in that type, while `trained` and its gradients keep
    theirs and the loss is in float32. `model.gradient_checkpointing_enable()` before it holds. Raises InputError for a
    batch without labels.
    """
    graph, _, _ = nnx.split(model, nnx.Param, ...)
    kind = placement(dtype).dtype

    def loss(trained: nnx.State, rest: nnx.State, batch: Batch, key: Array | None = None) -> Array:
        if "labels" not in batch:
            raise InputError(f"the batch has {', '.join(batch)}; a loss needs labels.")
        if kind is not None:
            trained, rest = (jax.tree.map(lambda x: as_type(x, kind), state) for state in (trained, rest))
        ready = nnx.merge(graph, trained, rest, copy=True)  # so that what dropout counts is its own
        if key is not None:
            nnx.reseed(ready, dropout=key)
        for _, module in nnx.iter_modules(ready):
            if isinstance(module, nnx.Dropout):
                module.deterministic = key is None
        found: Array = ready(**batch, return_logits=False).loss
        return found

    return loss


def as_type(x: Array, kind: Any) -> Array:
    """Floating-point values in another type; whole numbers and keys as they are."""
    return x.astype(kind) if jnp.issubdtype(x.dtype, jnp.floating) else x


def place_parameters(state: Any, mesh: Mesh, *, axis: str | None = None) -> Any:
    """Arrays over the devices of a mesh: a whole copy on each, or with `axis` each array cut along that axis of the mesh.

    An array is cut along its longest side that the number of devices divides, and copied where there is none (fully
    sharded data parallelism, https://arxiv.org/abs/2004.13336). Raises InputError for an axis that the mesh does not have.
    """
    if axis is not None and axis not in mesh.shape:
        raise InputError(f'axis is "{axis}"; the mesh has {", ".join(map(str, mesh.shape))}.')
    return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(automatic(mesh), cut(x, mesh, axis))), state)


def automatic(mesh: Mesh) -> Mesh:
    """The same devices and axes, with the shardings in between left to the compiler, whatever `jax.make_mesh` made."""
    return Mesh(mesh.devices, mesh.axis_names)


def cut(x: Any, mesh: Mesh, axis: str | None) -> PartitionSpec:
    """Along which side an array is cut."""
    sides = [
        i for i, length in enumerate(np.shape(x)) if axis is not None and length and length % mesh.shape[axis] == 0
    ]
    if not sides:
        return PartitionSpec()
    longest = max(sides, key=lambda i: np.shape(x)[i])
    return PartitionSpec(*[axis if i == longest else None for i in range(np.ndim(x))])


def place_batch(batch: Batch, mesh: Mesh) -> dict[str, Array]:
    """A batch with its rows over all devices of a mesh. Raises InputError for rows that the devices do not divide."""
    devices = mesh.size
    for name, x in batch.items():
        if np.ndim(x) and np.shape(x)[0] % devices:
            raise InputError(
                f"{name} has {np.shape(x)[0]} rows and the mesh {devices} devices; pad to a multiple of it."
            )
    rows = NamedSharding(automatic(mesh), PartitionSpec(tuple(mesh.axis_names)))
    whole = NamedSharding(automatic(mesh), PartitionSpec())
    return {name: jax.device_put(jnp.asarray(x), rows if np.ndim(x) else whole) for name, x in batch.items()}
