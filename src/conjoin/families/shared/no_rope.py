"""Stacks in which some layers have no positions at all, by a list or at equal steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.errors import ConfigError
from conjoin.families.shared.windowed import WindowedConfig

__all__ = ["NoRopeConfig"]


@dataclass(kw_only=True)
class NoRopeConfig(WindowedConfig):
    """A config that says of each layer whether it has rotary positions."""

    no_rope_layers: list[int] | None = None  # by layer, 1 where it has rotary positions
    no_rope_layer_interval: int = 4

    def turning(self) -> list[int]:
        """By layer, whether it has rotary positions. Raises ConfigError where the list is too short."""
        count, listed = self.num_hidden_layers, self.no_rope_layers
        if listed is None:
            return [int((i + 1) % self.no_rope_layer_interval != 0) for i in range(count)]
        if len(listed) < count:
            raise ConfigError(
                f'{self.model_type}: "no_rope_layers" is {listed!r}; a number for each of {count} layers was expected.'
            )
        return listed[:count]

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """Both lists go along with their layers."""
        turning = self.turning()
        return {**super().of_layers(layers), "no_rope_layers": [turning[i] for i in layers]}

    def to_dict(self) -> dict[str, Any]:
        """With the lists written out."""
        return {**super().to_dict(), "no_rope_layers": self.turning()}
