"""Leaf layers of stacks whose weights are in a graph: only what is computed before it, from the spec alone."""

from typing import Any

from conjoin.errors import InputError

__all__ = ["Constant", "Dropout", "Embedding", "LayerNorm", "Linear", "Module", "RMSNorm", "activation", "vector"]


class Module:
    """A module whose call is its `forward`."""

    def __call__(self, *args: Any, **given: Any) -> Any:
        """Its `forward`."""
        return self.forward(*args, **given)

    def forward(self, *args: Any, **given: Any) -> Any:
        """What the module does. Raises InputError where nothing does it."""
        raise InputError(f"{type(self).__name__} is part of a graph and cannot be called.")


def in_graph(*given: Any) -> None:
    """A layer that a graph has."""


class Embedding(Module):
    """A table that a graph has."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes


class Constant(Module):
    """A table that is the same in every model."""

    def __init__(self, values: Any) -> None:
        self.values = values


Dropout = LayerNorm = Linear = RMSNorm = activation = in_graph


def vector(size: int, trained: bool) -> None:
    """A vector that a graph has."""
