"""Leaf layers over NumPy's arrays: what is put into the engine's panels, and what is computed before the kernels.

A leaf has its parameters' names; `fill` gives it their values, in PyTorch's layout, as views of a framework's own. What the
kernels have in panels then need not be kept: `release` forgets it. Tables and norms outside of a stack's layers are copied.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conjoin.engine.arrays import Array, contiguous, wide

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
    "leaves",
    "parameter",
    "vector",
]

ModuleList = list


class Module:
    """A module whose call is its `forward`."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Its `forward`."""
        return self.forward(*args, **given)  # type: ignore[attr-defined]


class Leaf(Module):
    """A layer with parameters of some names, each an attribute."""

    names: tuple[str, ...] = ("weight",)
    bias: Array | None = None
    weight: Any = None

    def fill(self, read: Callable[[str], Array]) -> None:
        """Takes the values in that `read` has by name."""
        for name in self.names:
            setattr(self, name, read(name))

    def release(self) -> None:
        """Forgets them."""
        for name in self.names:
            setattr(self, name, None)

    def keep(self) -> None:
        """Has them in memory of its own, in float32."""
        for name in self.names:
            setattr(self, name, contiguous(np.array(getattr(self, name))))


class Linear(Leaf):
    """x (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        self.names = ("weight", "bias") if bias else ("weight",)

    def forward(self, x: Array) -> Array:
        """A plain product: of what stands between stacks, once a source."""
        y: Array = wide(x) @ self.weight.T
        return y if self.bias is None else y + self.bias


class Embedding(Leaf):
    """ids (...) -> (..., width)."""

    def __init__(self, rows: int, width: int) -> None:
        pass

    def forward(self, ids: Array) -> Array:
        """Rows of the table."""
        found: Array = self.weight[ids]
        return found


class OutputEmbedding(Leaf):
    """A vocabulary projection of its own (V, W)."""

    def __init__(self, width: int, vocab: int) -> None:
        pass


class LayerNorm(Leaf):
    """Over the last axis (https://arxiv.org/abs/1607.06450)."""

    def __init__(self, width: int, eps: float, bias: bool = True) -> None:
        self.names, self.eps = ("weight", "bias") if bias else ("weight",), np.float32(eps)

    def forward(self, x: Array) -> Array:
        """(..., W) -> (..., W)."""
        away = x - x.mean(-1, keepdims=True)
        y: Array = away / np.sqrt((away * away).mean(-1, keepdims=True) + self.eps) * self.weight
        return y if self.bias is None else y + self.bias


class RMSNorm(Leaf):
    """x over the root of its mean square, times weight + offset (https://arxiv.org/abs/1910.07467)."""

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        self.eps, self.offset = np.float32(eps), np.float32(offset)

    def forward(self, x: Array) -> Array:
        """(..., W) -> (..., W)."""
        y: Array = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * (self.weight + self.offset)
        return y


class Vector(Leaf):
    """A vector that a module keeps by itself."""

    def fill(self, read: Callable[[str], Array]) -> None:
        """Takes the value in, which has the module's own name for it."""
        self.weight = read("")


class Constant(Module):
    """A table that is the same in every model."""

    def __init__(self, values: Array) -> None:
        self.values = values


class Dropout(Module):
    """Nothing: no model trains here."""

    def __init__(self, rate: float) -> None:
        pass

    def forward(self, x: Array) -> Array:
        """x."""
        return x


def vector(size: int, trained: bool) -> Vector:
    """A vector."""
    return Vector()


def activation(name: str) -> None:
    """What kernels do."""


def no_kernel(*sizes: Any, **facts: Any) -> None:
    """A layer of stacks that no program holds."""


Conv = TimeNorm = parameter = no_kernel


def leaves(module: Any, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every leaf by name, under each name that it has."""
    for name, value in vars(module).items():
        if isinstance(value, Leaf):
            yield path + name, value
        elif isinstance(value, Module):
            yield from leaves(value, f"{path}{name}.")
        elif isinstance(value, list):
            for i, one in enumerate(value):
                if isinstance(one, Leaf):
                    yield f"{path}{name}.{i}", one
                elif isinstance(one, Module):
                    yield from leaves(one, f"{path}{name}.{i}.")
