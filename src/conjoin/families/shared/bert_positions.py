"""The positions of BERT and its relatives: a table of places, or as transformers 4 has them, vectors of distances."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig
from conjoin.errors import ConfigError
from conjoin.spec import KeyDistances

__all__ = ["ABSOLUTE", "PlacesConfig"]

ABSOLUTE = ("absolute",)  # the positions of relatives that have no others


@dataclass(kw_only=True)
class PlacesConfig(ModelConfig):
    """A config that says what positions are."""

    unless_none: ClassVar[tuple[str, ...]] = ("position_embedding_type",)
    place_kinds: ClassVar[tuple[str, ...]] = (*ABSOLUTE, "relative_key", "relative_key_query")

    max_position_embeddings: int = 512
    position_embedding_type: str | None = None  # None: absolute; transformers 5 knows no other

    def check(self) -> None:
        """Raises ConfigError where sizes cannot be, or for positions of a kind that the family has not."""
        super().check()
        if self.position_embedding_type not in (None, *self.place_kinds):
            raise ConfigError(
                f'{self.model_type}: "position_embedding_type" is {self.position_embedding_type!r}; only '
                f"{' or '.join(map(repr, self.place_kinds))} is implemented."
            )

    def distances(self) -> KeyDistances | None:
        """What attention makes of distances; None where positions are absolute."""
        if self.position_embedding_type in (None, *ABSOLUTE):
            return None
        return KeyDistances(self.max_position_embeddings, self.position_embedding_type == "relative_key_query")
