"""The positions of BERT and its relatives: a table of places, or as transformers 4 has them, vectors of distances."""

from dataclasses import dataclass
from typing import Any, ClassVar

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

    def places(self) -> dict[str, Any]:
        """The facts of a stack that positions are: a table, or what attention makes of distances."""
        longest = self.max_position_embeddings
        if self.position_embedding_type in (None, *ABSOLUTE):
            return {"positions": longest}
        keys = self.position_embedding_type == "relative_key_query"
        return {"attention": KeyDistances(longest, keys), "limit": longest}
