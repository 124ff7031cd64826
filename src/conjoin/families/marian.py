"""Marian, as the OPUS-MT translators are (https://arxiv.org/abs/1804.00344): BART with computed positions."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.families.shared.bart_like import sided_family
from conjoin.families.shared.bart_rows import LAYERS, TOKEN
from conjoin.spec import RoleName, StackSpec

__all__ = ["FAMILIES", "MARIAN", "MarianConfig"]
COMPUTED: dict[str, tuple[object, ...]] = {"normalize_embedding": (False,), "static_position_embeddings": (True,)}


@config_class
@dataclass(kw_only=True)
class MarianConfig(bart.BartConfig):
    """Sizes and settings of a Marian, with transformers' names and defaults."""

    model_type: ClassVar[str] = "marian"
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | {"share_encoder_decoder_embeddings"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {**bart.BartConfig.only, **COMPUTED}

    vocab_size: int = 58101
    decoder_vocab_size: int | None = None
    pad_token_id: int | None = 58100
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 0
    decoder_start_token_id: int | None = 58100
    forced_eos_token_id: int | list[int] | None = 0

    def of_side(self, role: RoleName) -> Self:
        """The sides may have a vocabulary each; `vocab_size` becomes that of the side that is used."""
        own = self.decoder_vocab_size if role == "decoder" else None
        return self.copy(vocab_size=own or self.vocab_size, decoder_vocab_size=None)


def read(config: Any, role: RoleName, **facts: Any) -> StackSpec:
    """BART's facts with computed positions and no norm of the embeddings."""
    positions = {"positions": config.max_position_embeddings, "position_offset": 0, "sinusoidal": "halves"}
    own = {"embed_norm": False, "embed_scales_ready": role == "decoder"}
    return bart.read(config, role, **{**positions, **own, **facts})


BODY = (TOKEN, *LAYERS)
# Computed here; files keep the table, an older version's mark of it, or nothing.
TABLE = (r"embed_positions\.(weights?|_float_tensor)$",)

MARIAN = sided_family(MarianConfig, "Marian", read, BODY, buffers=TABLE)
FAMILIES = (MARIAN,)
