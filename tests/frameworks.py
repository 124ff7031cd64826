"""The three frameworks behind one face, so that one test body runs in each: arrays in and out, losses and gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import conjoin


class Framework:
    """A framework by name, its model class, and how its arrays are made and read."""

    name: str
    class_name: str
    extra: str

    @property
    def model_class(self) -> Any:
        return getattr(conjoin, self.class_name)

    @property
    def parts(self) -> tuple[Any, Any]:
        """Its Encoder and its Decoder."""
        return self.model_class.encoder_class, self.model_class.decoder_class

    def load(self, folder: Any, **options: Any) -> Any:
        return self.model_class.from_pretrained(folder, **options)

    def array(self, x: Any) -> Any:
        """A native array of a NumPy array, or of one of torch's."""
        raise NotImplementedError

    def arrays(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The same of each value that is an array."""
        return {k: self.array(np.asarray(v)) if hasattr(v, "__array__") else v for k, v in given.items()}

    def number(self, x: Any) -> np.ndarray:
        """A NumPy array of a native one."""
        return np.asarray(x)

    def tokens(self, generated: Any) -> list[list[int]]:
        """What `generate` made, as lists."""
        return np.asarray(generated).tolist()

    def named(self, model: Any) -> dict[str, np.ndarray]:
        """Every parameter and buffer by conjoin's name, in PyTorch's layout."""
        return {name: np.asarray(x) for name, x in model.ops.named_arrays(model).items()}

    def gradients(self, model: Any, batch: Mapping[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
        """The loss, and its gradient by each trained parameter."""
        raise NotImplementedError


class Torch(Framework):
    name, class_name, extra = "torch", "EncoderDecoderModel", "torch"

    def array(self, x: Any) -> Any:
        import torch

        return torch.as_tensor(np.array(x))

    def number(self, x: Any) -> np.ndarray:
        return x.detach().numpy()

    def gradients(self, model: Any, batch: Mapping[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
        model.zero_grad(set_to_none=True)
        loss = model(**self.arrays(batch)).loss
        loss.backward()
        found = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
        return loss.item(), {n: g.numpy().copy() for n, g in found.items() if g is not None}


class Jax(Framework):
    name, class_name, extra = "jax", "FlaxEncoderDecoderModel", "jax"

    def array(self, x: Any) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(np.asarray(x))

    def gradients(self, model: Any, batch: Mapping[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
        import jax
        from flax import nnx

        from conjoin.flax.training import loss_function, split

        trained, rest = split(model)
        function = jax.jit(jax.value_and_grad(loss_function(model)))
        loss, gradients = function(trained, rest, self.arrays(batch))
        holder = nnx.clone(model)
        nnx.update(holder, gradients)
        names = [n for n in model.ops.trainable_names(model) if n in names_of(model, nnx.Param)]
        return float(loss), {name: model.ops.read(holder, name) for name in names}


def names_of(model: Any, kind: type) -> set[str]:
    """The names of a Flax model's variables of one kind."""
    from conjoin.backends.jax.store import variables

    return {name for name, variable in variables(model).items() if isinstance(variable, kind)}


class TensorFlow(Framework):
    name, class_name, extra = "tensorflow", "TFEncoderDecoderModel", "tensorflow"

    def array(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.constant(np.asarray(x))

    def gradients(self, model: Any, batch: Mapping[str, Any]) -> tuple[float, dict[str, np.ndarray]]:
        import tensorflow as tf

        from conjoin.backends.tensorflow.store import named_gradients

        with tf.GradientTape() as tape:
            loss = model(**self.arrays(batch)).loss
        return float(loss), named_gradients(model, tape.gradient(loss, model.trainable_variables))


ALL: dict[str, Framework] = {one.name: one for one in (Torch(), Jax(), TensorFlow())}
COMPILED = {name: ALL[name] for name in ("jax", "tensorflow")}
every_framework: Callable[..., Any] = pytest.mark.parametrize("framework", ALL.values(), ids=ALL)
compiled_frameworks: Callable[..., Any] = pytest.mark.parametrize("framework", COMPILED.values(), ids=COMPILED)


def all_in_torch(argument: str, cases: Sequence[Any], few: Sequence[Any]) -> Any:
    """All cases in PyTorch, and a few in the two others, where a model is compiled for each."""
    pairs = [(case, one) for one in ALL.values() for case in (cases if one.name == "torch" else few)]
    ids = [f"{getattr(case, 'name', case)}-{one.name}" for case, one in pairs]
    return pytest.mark.parametrize((argument, "framework"), pairs, ids=ids)
