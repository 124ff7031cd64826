"""Relatives of Llama in which layers differ in kind: some attend to all tokens before, some to those within a window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.errors import ConfigError
from conjoin.families.shared.gated import GatedConfig
from conjoin.families.shared.windows import FULL, SLIDING, layer_types, reach

__all__ = ["WindowedConfig"]


@dataclass(kw_only=True)
class WindowedConfig(GatedConfig):
    """A config that says of each layer whether it attends to a window, in a list or by a rule of the family's."""

    sliding_window: int | None = None
    layer_types: list[str] | None = None

    def usual_type(self, layer: int) -> str:
        """The type of a layer where the config lists none."""
        return FULL

    def types(self) -> list[str]:
        """The type of each layer. Raises ConfigError for one that is not implemented, or where there are too few."""
        return layer_types(self, [self.usual_type(i) for i in range(self.num_hidden_layers)])

    def reaches(self) -> tuple[int | None, ...]:
        """How far each layer sees. Raises ConfigError where a layer has a window and its width is not said."""
        types = self.types()
        if SLIDING in types and self.sliding_window is None:
            raise ConfigError(f'{self.model_type}: "layer_types" has "{SLIDING}", and "sliding_window" is not set.')
        return tuple(reach(self.sliding_window) if one == SLIDING else None for one in types)

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """The types go along with their layers."""
        types = self.types()
        return {"layer_types": [types[i] for i in layers]}

    def to_dict(self) -> dict[str, Any]:
        """With the list written out."""
        return {**super().to_dict(), "layer_types": self.types()}
