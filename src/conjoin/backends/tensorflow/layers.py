"""Leaf layers in TensorFlow: Keras layers, built as they are made with zeros; `store.py` fills them."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

import tensorflow as tf
from conjoin.errors import ConfigError, nearest

__all__ = [
    "Constant",
    "Conv",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "OutputEmbedding",
    "RMSNorm",
    "TimeNorm",
    "Vector",
    "activation",
    "named",
    "parameter",
    "recalled",
    "recomputed",
    "remade",
    "vector",
]

ModuleList = list
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "gelu_fast": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "sigmoid": tf.sigmoid,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "tanh": tf.tanh,
}
ALIASES = {"output_embedding": "output"}  # attributes that have another name in conjoin


class Module(keras.layers.Layer):
    """A Keras layer that is called directly: Keras's own call would copy the lists that a trace fills."""

    def __init__(self) -> None:
        super().__init__()
        self.built = True  # each layer within is built as it is made

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def __call__(self, *args: Any, **options: Any) -> Any:
        """What `forward` makes."""
        return self.forward(*args, **options)

    @property
    def output(self) -> Any:
        """A stack's output embedding. Keras has this name for something else, and saves nothing that stands under it."""
        return self.output_embedding if "output_embedding" in vars(self) else super().output

    @output.setter
    def output(self, layer: Any) -> None:
        self.output_embedding = layer


class Redrawn:
    """What dropout layers draw in a pass that is computed twice: the same both times."""

    def __init__(self) -> None:
        self.training: bool | None = None  # as the first pass found it; the second knows nothing of it
        self.seed: Any = None
        self.drawn = 0

    def next(self) -> tf.Tensor:
        """The next seed."""
        self.drawn += 1
        return self.seed + tf.constant([0, self.drawn], self.seed.dtype)


REDRAWN: contextvars.ContextVar[Redrawn | None] = contextvars.ContextVar("REDRAWN", default=None)


@contextlib.contextmanager
def redrawing(redrawn: Redrawn, seed: tf.Tensor) -> Iterator[None]:
    """Dropout layers that are called meanwhile draw from a seed, from its beginning."""
    redrawn.seed, redrawn.drawn = seed, 0
    token = REDRAWN.set(redrawn)
    try:
        yield
    finally:
        REDRAWN.reset(token)


class Dropout(keras.layers.Dropout):
    """Active where the model is called with training=True, as in `fit`."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.autocast = False  # what comes has the type that is computed in, whichever this layer was made in

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """As Keras's, and nothing at all at a rate of zero."""
        return super().__call__(inputs, **options) if self.rate else inputs

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs of which some are zero."""
        redrawn = REDRAWN.get()
        if redrawn is None:
            return super().call(inputs, training=training)
        if redrawn.training is None:
            redrawn.training = bool(training)
        if not redrawn.training:
            return inputs
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed=redrawn.next())


class Constant:
    """A table that no one trains and no file holds."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = values


class Vector(keras.Variable):
    """A vector, or an array of more axes, that a module keeps by itself."""

    saved_only: bool  # whether it is a value that is never trained
    compute_dtype: str
    dtype_policy: Any

    @classmethod
    def of(cls, shape: tuple[int, ...], trained: bool, policy: Any) -> "Vector":
        """Zeros, in the type of a policy."""
        found: Vector = cls("zeros", shape=shape, dtype=policy.variable_dtype, trainable=trained, name="vector")
        found.saved_only, found.compute_dtype, found.dtype_policy = not trained, policy.compute_dtype, policy
        return found


# Leaf layers.


def built(layer: Any, *shape: int | None) -> Any:
    """A layer with its variables."""
    layer.build(shape)
    return layer


def Linear(inputs: int, outputs: int, bias: bool = True, dtype: Any = None) -> keras.layers.Dense:  # noqa: N802
    """x (..., inputs) -> (..., outputs)."""
    return built(
        keras.layers.Dense(outputs, use_bias=bias, kernel_initializer="zeros", dtype=dtype), None, None, inputs
    )


def Embedding(rows: int, width: int, dtype: Any = None) -> keras.layers.Embedding:  # noqa: N802
    """ids (...) -> (..., width)."""
    return built(keras.layers.Embedding(rows, width, embeddings_initializer="zeros", dtype=dtype), None, None)


def LayerNorm(  # noqa: N802
    width: int, eps: float, bias: bool = True, dtype: Any = None
) -> keras.layers.LayerNormalization:
    """Over the last axis."""
    layer = keras.layers.LayerNormalization(epsilon=eps, center=bias, gamma_initializer="zeros", dtype=dtype)
    return built(layer, None, None, width)


class RMSNorm(Module):
    """x over the root of its mean square, in float32, times weight + offset (https://arxiv.org/abs/1910.07467)."""

    def __init__(self, width: int, eps: float, offset: float = 0.0, dtype: Any = None) -> None:
        super().__init__()
        self.eps, self.offset = eps, offset
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.scale = keras.Variable("zeros", shape=(width,), dtype=policy.variable_dtype, name="scale")

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        """(..., W) -> (..., W)."""
        wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
        normed = wide * tf.math.rsqrt(tf.reduce_mean(tf.square(wide), -1, keepdims=True) + self.eps)
        if self.offset:  # in half precision the sum would have few of the weight's digits
            return tf.cast(normed * (tf.cast(self.scale.value, wide.dtype) + self.offset), x.dtype)
        return tf.cast(self.scale.value, x.dtype) * tf.cast(normed, x.dtype)


class Conv(Module):
    """A convolution along one or two axes, channels last: weight (outputs, inputs / groups, *kernel).

    Where `normed`, the weight is a direction, and `gain` its length at each place of the kernel
    (https://arxiv.org/abs/1602.07868).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        *,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        normed: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = stride, padding, groups
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.kind = policy.compute_dtype

        def zeros(name: str, *shape: int) -> keras.Variable:
            return keras.Variable("zeros", shape=shape, dtype=policy.variable_dtype, name=name)

        self.weight = zeros("weight", outputs, inputs // groups, *kernel)
        self.gain = zeros("gain", 1, 1, *kernel) if normed else None
        self.bias = zeros("bias", outputs) if bias else None

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        """(B, ..., inputs) -> (B, ..., outputs)."""
        weight = tf.cast(self.weight.value, self.kind)
        if self.gain is not None:
            length = tf.sqrt(tf.reduce_sum(tf.square(weight), (0, 1), keepdims=True))
            weight = weight * (tf.cast(self.gain.value, self.kind) / length)
        axes = len(weight.shape) - 2
        weight = tf.transpose(weight, (*range(2, 2 + axes), 1, 0))
        x = tf.pad(tf.cast(x, self.kind), [[0, 0], *[[self.padding] * 2] * axes, [0, 0]])
        pairs = zip(tf.split(x, self.groups, -1), tf.split(weight, self.groups, -1), strict=True)
        # Group by group: on a CPU TensorFlow has no convolution in groups.
        found = tf.concat([tf.nn.convolution(a, b, self.stride, "VALID") for a, b in pairs], -1)
        return found if self.bias is None else found + tf.cast(self.bias.value, self.kind)


class TimeNorm(Module):
    """Each channel of (B, T, C) normed over time (https://arxiv.org/abs/1803.08494, a group for each channel)."""

    def __init__(self, width: int, eps: float, dtype: Any = None) -> None:
        super().__init__()
        self.eps = eps
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.weight = keras.Variable("zeros", shape=(width,), dtype=policy.variable_dtype, name="weight")
        self.bias = keras.Variable("zeros", shape=(width,), dtype=policy.variable_dtype, name="bias")

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        """(B, T, C) -> (B, T, C)."""
        wide = x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
        away = wide - tf.reduce_mean(wide, 1, keepdims=True)
        normed = away * tf.math.rsqrt(tf.reduce_mean(tf.square(away), 1, keepdims=True) + self.eps)
        weight, bias = (tf.cast(one.value, wide.dtype) for one in (self.weight, self.bias))
        return tf.cast(normed * weight + bias, x.dtype)


class OutputEmbedding(Module):
    """A vocabulary projection of its own, for a head that is not tied: (V, W)."""

    def __init__(self, width: int, vocab: int, dtype: Any = None) -> None:
        super().__init__()
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.dtype_policy = policy
        self.embeddings = keras.Variable("zeros", shape=(vocab, width), dtype=policy.variable_dtype, name="embeddings")


def remade(layer: Any, policy: Any, rows: int | None = None) -> Any:
    """A leaf layer or a vector as this one, of another type, or a table or a vector of more rows; its values are zeros."""
    if isinstance(layer, Vector):
        return Vector.of((layer.shape[0] if rows is None else rows, *layer.shape[1:]), not layer.saved_only, policy)
    if isinstance(layer, keras.layers.Dense):
        inputs, outputs = layer.kernel.shape
        return Linear(inputs, outputs, layer.use_bias, policy)
    if isinstance(layer, keras.layers.LayerNormalization):
        return LayerNorm(layer.gamma.shape[0], layer.epsilon, layer.center, policy)
    if isinstance(layer, RMSNorm):
        return RMSNorm(layer.scale.shape[0], layer.eps, layer.offset, policy)
    if isinstance(layer, TimeNorm):
        return TimeNorm(layer.weight.shape[0], layer.eps, policy)
    if isinstance(layer, Conv):
        outputs, inputs, *kernel = layer.weight.shape
        return Conv(
            inputs * layer.groups,
            outputs,
            tuple(kernel),
            layer.stride,
            padding=layer.padding,
            groups=layer.groups,
            bias=layer.bias is not None,
            normed=layer.gain is not None,
            dtype=policy,
        )
    now, width = layer.embeddings.shape
    kind = keras.layers.Embedding if isinstance(layer, keras.layers.Embedding) else OutputEmbedding
    if kind is OutputEmbedding:
        return OutputEmbedding(width, rows or now, policy)
    return Embedding(rows or now, width, policy)


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The activation of a config's name. Raises ConfigError with the nearest known one."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f'activation "{name}" is not known{nearest(name, ACTIVATIONS)}; one of {", ".join(ACTIVATIONS)}.'
        )
    return ACTIVATIONS[name]


def vector(size: int, trained: bool) -> Vector:
    """A vector of zeros: a parameter, or a value that is not trained."""
    return Vector.of((size,), trained, keras.config.dtype_policy())


def parameter(*shape: int) -> Vector:
    """A parameter that a module keeps by itself; `values` reads it."""
    return Vector.of(shape, True, keras.config.dtype_policy())


def recalled(z: Any, activation: Any, y: Any) -> contextlib.AbstractContextManager[None]:
    """Nothing: what is kept for gradients is the compiler's to choose."""
    return contextlib.nullcontext()


def recomputed(block: Module, *inputs: Any) -> tf.Tensor:
    """A block's output, its activations computed again in the backward pass (https://arxiv.org/abs/1604.06174)."""
    redrawn = Redrawn()
    dropping = (layer for layer in block._flatten_layers() if isinstance(layer, Dropout) and layer.rate)
    first = next(dropping, None)
    seed = None if first is None else first.seed_generator.next()
    flat = tf.nest.flatten(inputs)
    varying = [i for i, x in enumerate(flat) if tf.is_tensor(x) and x.dtype.is_floating]

    def output(*tensors: tf.Tensor) -> tf.Tensor:
        given = list(flat)
        for i, tensor in zip(varying, tensors, strict=True):
            given[i] = tensor
        with redrawing(redrawn, seed):
            return block(*tf.nest.pack_sequence_as(inputs, given))[0]

    found: tf.Tensor = tf.recompute_grad(output)(*(flat[i] for i in varying))
    return found


def children(module: Any) -> Iterator[tuple[str, Any]]:
    """A module's own layers and vectors by the name that conjoin has for them; those of a list by number."""
    for name, value in list(vars(module).items()):
        if name.startswith("_"):
            continue
        known = ALIASES.get(name, name)
        if isinstance(value, keras.layers.Layer | keras.Variable):
            yield known, value
        elif isinstance(value, list):
            for i, one in enumerate(value):
                if isinstance(one, keras.layers.Layer):
                    yield f"{known}.{i}", one


def named(module: Any, path: str = "") -> None:
    """Names layers and variables after the attributes that hold them: encoder/layers/0/attention/q/kernel."""
    for name, value in children(module):
        if isinstance(value, Vector):
            value._name, value._path = name, path + name
        elif isinstance(value, Module):
            value.name = name.replace(".", "_")
            named(value, f"{path}{name.replace('.', '/')}/")
        elif isinstance(value, keras.layers.Layer):
            value.name = name
            for one in value.variables:
                one._path = f"{path}{name}/{one.name}"
        else:
            value._path = path + value.name
