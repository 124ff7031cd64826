"""The names and shapes of a stack's parameters, from its spec alone: the blocks, made of layers that are only shapes."""

import functools
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from conjoin import blocks
from conjoin.spec import StackSpec

__all__ = ["parameter_shapes"]

Shape = tuple[int, ...]


class Module:
    """What holds layers."""


class Layer:
    """A leaf layer: the shapes of its parameters by their names."""

    def __init__(self, **shapes: Shape | None) -> None:
        self.shapes = {name: shape for name, shape in shapes.items() if shape is not None}


def no_layer(*given: Any) -> None:
    """What has no parameters."""


BACKEND = SimpleNamespace(
    Module=Module,
    ModuleList=list,
    Linear=lambda inputs, outputs, bias=True: Layer(weight=(outputs, inputs), bias=(outputs,) if bias else None),
    Embedding=lambda rows, width: Layer(weight=(rows, width)),
    OutputEmbedding=lambda width, vocab: Layer(weight=(vocab, width)),
    LayerNorm=lambda width, eps, bias=True: Layer(weight=(width,), bias=(width,) if bias else None),
    RMSNorm=lambda width, eps, offset: Layer(weight=(width,)),
    Conv=lambda inputs, outputs, kernel, stride, padding=0, groups=1, bias=True, normed=False: Layer(
        weight=(outputs, inputs // groups, *kernel),
        gain=(1, 1, *kernel) if normed else None,
        bias=(outputs,) if bias else None,
    ),
    TimeNorm=lambda width, eps: Layer(weight=(width,), bias=(width,)),
    vector=lambda size, trained: (size,) if trained else None,
    parameter=lambda *shape: shape,
    Constant=no_layer,
    Dropout=no_layer,
    activation=no_layer,
)


@functools.cache
def stack() -> Any:
    """The class of a stack of shapes."""
    return blocks.define(BACKEND)["Stack"]


def parameter_shapes(spec: StackSpec) -> Mapping[str, Shape]:
    """The shape of every parameter that is trained, by conjoin's name, in PyTorch's layout."""
    return dict(walked(stack()(spec), ""))


def walked(module: Any, path: str) -> Iterator[tuple[str, Shape]]:
    """The parameters under a module."""
    items = enumerate(module) if isinstance(module, list) else vars(module).items()
    for name, value in items:
        if isinstance(value, Layer):
            yield from ((f"{path}{name}.{own}", shape) for own, shape in value.shapes.items())
        elif isinstance(value, Module | list):
            yield from walked(value, f"{path}{name}.")
        elif isinstance(value, tuple) and isinstance(module, Module) and value and all(type(n) is int for n in value):
            yield f"{path}{name}", value
