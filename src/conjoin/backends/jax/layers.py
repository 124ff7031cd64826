"""Leaf layers in JAX: Flax NNX modules, built without storage; `store.py` fills them."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from flax import nnx

import jax
import jax.numpy as jnp
from conjoin.errors import ConfigError, nearest

__all__ = [
    "Box",
    "Buffer",
    "Constant",
    "Conv",
    "Dropout",
    "Embedding",
    "FrozenParam",
    "Kept",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "OutputEmbedding",
    "RMSNorm",
    "TimeNorm",
    "activation",
    "dropping_with",
    "parameter",
    "recalled",
    "recomputed",
    "vector",
]

ModuleList = nnx.List
DROPOUT: contextvars.ContextVar[nnx.Rngs | None] = contextvars.ContextVar("DROPOUT", default=None)
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_fast": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}


class Buffer(nnx.Variable[Any]):
    """A value that is saved and never trained."""


class FrozenParam(nnx.Variable[Any]):
    """A parameter that `freeze` took out of training: no `nnx.Param`, so no gradient is taken for it."""


class Box:
    """Holds what is no array: equal only to itself, so that a graph definition can carry it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Kept:
    """An attribute that belongs to a module and is no part of what JAX traces: a config, a tokenizer."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.slot = f"_{name}_box"

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else getattr(module, self.slot).value

    def __set__(self, module: Any, value: Any) -> None:
        setattr(module, self.slot, Box(value))


class Constant(Box):
    """A table that no one trains and no file holds."""


class Module(nnx.Module):
    """An NNX module whose `forward` is its call."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in cls.__dict__:
            cls.__call__ = cls.__dict__["forward"]


class NoRandomness:
    """Stands for random keys while layers are built whose values come later."""

    def params(self) -> None:
        """No key."""


@contextlib.contextmanager
def dropping_with(rngs: nnx.Rngs) -> Iterator[None]:
    """Dropout layers that are built meanwhile draw from here."""
    token = DROPOUT.set(rngs)
    try:
        yield
    finally:
        DROPOUT.reset(token)


def unset(key: None, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Zeros that take no memory until they are touched."""
    return np.zeros(shape, dtype)


# Leaf layers.


def Linear(inputs: int, outputs: int, bias: bool = True) -> nnx.Linear:  # noqa: N802
    """x (..., inputs) -> (..., outputs)."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=bias,
        kernel_init=unset,
        bias_init=unset,
        rngs=NoRandomness(),  # type: ignore[arg-type]
    )


def Embedding(rows: int, width: int) -> nnx.Embed:  # noqa: N802
    """ids (...) -> (..., width), of the table's own type."""
    layer = nnx.Embed(rows, width, embedding_init=unset, rngs=NoRandomness())  # type: ignore[arg-type]
    layer.dtype = None
    return layer


def LayerNorm(width: int, eps: float, bias: bool = True) -> nnx.LayerNorm:  # noqa: N802
    """Over the last axis; the fast variance of Flax would be off by more than 1e-5."""
    return nnx.LayerNorm(
        width,
        epsilon=eps,
        use_fast_variance=False,
        use_bias=bias,
        scale_init=unset,
        bias_init=unset,
        rngs=NoRandomness(),  # type: ignore[arg-type]
    )


def Dropout(rate: float) -> nnx.Dropout:  # noqa: N802
    """Active after `model.train()`."""
    return nnx.Dropout(rate, deterministic=True, rngs=DROPOUT.get() if rate else None)


class RMSNorm(Module):
    """x over the root of its mean square, in float32, times weight + offset (https://arxiv.org/abs/1910.07467)."""

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        self.eps, self.offset = eps, offset
        self.scale = nnx.Param(unset(None, (width,), jnp.float32))

    def forward(self, x: Any) -> Any:
        """(..., W) -> (..., W)."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        normed = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.eps)
        scale = self.scale[...]
        if self.offset:  # in half precision the sum would have few of the weight's digits
            return (normed * (scale.astype(wide.dtype) + self.offset)).astype(x.dtype)
        return scale * normed.astype(x.dtype)


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
    ) -> None:
        self.stride, self.padding, self.groups = stride, ((padding, padding),) * len(kernel), groups
        self.weight = nnx.Param(unset(None, (outputs, inputs // groups, *kernel), jnp.float32))
        self.gain = nnx.Param(unset(None, (1, 1, *kernel), jnp.float32)) if normed else None
        self.bias = nnx.Param(unset(None, (outputs,), jnp.float32)) if bias else None

    def forward(self, x: Any) -> Any:
        """(B, ..., inputs) -> (B, ..., outputs)."""
        weight = self.weight[...]
        if self.gain is not None:
            weight = weight * (self.gain[...] / jnp.sqrt(jnp.square(weight).sum((0, 1), keepdims=True)))
        axes = "HW"[: weight.ndim - 2]
        found = jax.lax.conv_general_dilated(
            x.astype(weight.dtype),
            weight,
            self.stride,
            self.padding,
            dimension_numbers=(f"N{axes}C", f"OI{axes}", f"N{axes}C"),
            feature_group_count=self.groups,
        )
        return found if self.bias is None else found + self.bias[...]


class TimeNorm(Module):
    """Each channel of (B, T, C) normed over time (https://arxiv.org/abs/1803.08494, a group for each channel)."""

    def __init__(self, width: int, eps: float) -> None:
        self.eps = eps
        self.weight = nnx.Param(unset(None, (width,), jnp.float32))
        self.bias = nnx.Param(unset(None, (width,), jnp.float32))

    def forward(self, x: Any) -> Any:
        """(B, T, C) -> (B, T, C)."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        away = wide - wide.mean(1, keepdims=True)
        normed = away * jax.lax.rsqrt(jnp.square(away).mean(1, keepdims=True) + self.eps)
        return (normed * self.weight[...] + self.bias[...]).astype(x.dtype)


class OutputEmbedding(Module):
    """A vocabulary projection of its own, for a head that is not tied: (V, W)."""

    def __init__(self, width: int, vocab: int) -> None:
        self.embedding = nnx.Param(unset(None, (vocab, width), jnp.float32))


def activation(name: str) -> Callable[[Any], Any]:
    """The activation of a config's name. Raises ConfigError with the nearest known one."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f'activation "{name}" is not known{nearest(name, ACTIVATIONS)}; one of {", ".join(ACTIVATIONS)}.'
        )
    return ACTIVATIONS[name]


def vector(size: int, trained: bool) -> nnx.Variable[Any]:
    """A vector of zeros: a parameter, or a value that is not trained."""
    return (nnx.Param if trained else Buffer)(unset(None, (size,), jnp.float32))


def parameter(*shape: int) -> nnx.Param[Any]:
    """A parameter that a module keeps by itself; `values` reads it."""
    return nnx.Param(unset(None, shape, jnp.float32))


def recalled(z: Any, activation: Any, y: Any) -> contextlib.AbstractContextManager[None]:
    """Nothing: what is kept for gradients is the compiler's to choose."""
    return contextlib.nullcontext()


def recomputed(block: nnx.Module, *inputs: Any) -> Any:
    """A block's output, its activations computed again in the backward pass (https://arxiv.org/abs/1604.06174)."""
    graph, counts, rest = nnx.split(block, nnx.RngState, ...)

    @jax.checkpoint  # type: ignore[untyped-decorator]
    def run(counts: Any, rest: Any, *inputs: Any) -> tuple[Any, Any]:
        ready = nnx.merge(graph, counts, rest, copy=True)
        return ready(*inputs)[0], nnx.state(ready, nnx.RngState)

    found, counted = run(counts, rest, *inputs)
    nnx.update(block, counted)
    return found
