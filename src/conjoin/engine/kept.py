"""The panels of a stack's layers, made once for all that multiply by them, and whole."""

from typing import Any

from conjoin.engine.recording import Leaves, UnsupportedError
from conjoin.engine.weights import Panels

__all__ = ["Kept"]


class Kept:
    """Leaves whose panels are made once, for layers that several blocks share."""

    def __init__(self, leaves: Leaves) -> None:
        self.leaves = leaves
        self.numbers = leaves.numbers
        self.packed: dict[tuple[int, ...], Panels] = {}

    def panels(self, layers: list[Any]) -> Panels:
        """As `Leaves.panels`."""
        key = tuple(id(layer) for layer in layers)
        if key not in self.packed:
            made = self.leaves.panels(layers)
            self.packed[key] = whole(made)
        return self.packed[key]

    def table(self, table: Any, bias: Any) -> Panels:
        """As `Leaves.table`."""
        return whole(self.leaves.table(table, bias))


def whole(panels: Panels) -> Panels:
    """Panels that the kernels can multiply. Raises UnsupportedError for others."""
    if not panels.is_whole:
        raise UnsupportedError(f"{panels.inputs} inputs, of which {panels.mode.name} weights stand several together")
    return panels
