"""Stacks in which layers of the type "local" attend to a window and "global" ones to all, as GPT-Neo's configs say it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conjoin.config import ModelConfig
from conjoin.errors import ConfigError
from conjoin.families.shared.windows import reach

__all__ = ["LocalLayersConfig"]


@dataclass(kw_only=True)
class LocalLayersConfig(ModelConfig):
    """A config that lists types of layers, and how many times over."""

    num_layers: int = 24
    attention_types: list[list[Any]] | None = None  # of layers, and how many times over; None: global and local in turn
    window_size: int = 256

    def types(self) -> list[str]:
        """The type of each layer. Raises ConfigError for one that is not known, or where there are too few."""
        given: list[list[Any]] = (
            [[["global", "local"], self.num_layers]] if self.attention_types is None else self.attention_types
        )
        found = [kind for kinds, times in given for _ in range(times) for kind in kinds]
        if len(found) < self.num_layers or not {"global", "local"}.issuperset(found):
            raise ConfigError(
                f'{self.model_type}: "attention_types" is {given!r}; "global" or "local" was expected for each of '
                f"{self.num_layers} layers."
            )
        return found[: self.num_layers]

    def reaches(self) -> tuple[int | None, ...]:
        """How far each layer sees."""
        return tuple(reach(self.window_size) if one == "local" else None for one in self.types())

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """The types go along with their layers."""
        types = self.types()
        return {"attention_types": [[[types[i] for i in layers], 1]]}

    def to_dict(self) -> dict[str, Any]:
        """With the types written out."""
        return {**super().to_dict(), "attention_types": [[self.types(), 1]]}
