"""Gemma 3 (https://arxiv.org/abs/2503.19786), its text model: most layers have a window, and positions of their own.

With `use_bidirectional_attention` (EmbeddingGemma, https://arxiv.org/abs/2509.20354) it is an encoder that sees both ways.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families import gemma2
from conjoin.families.shared.gemma3_like import gemma3_family
from conjoin.families.shared.windows import FULL, SLIDING

__all__ = ["FAMILIES", "GEMMA3_TEXT", "Gemma3TextConfig"]


@config_class
@dataclass(kw_only=True)
class Gemma3TextConfig(gemma2.Gemma2Config):
    """Sizes and settings of a Gemma 3's text model, with transformers' names and defaults."""

    model_type: ClassVar[str] = "gemma3_text"
    only: ClassVar[dict[str, tuple[object, ...]]] = {}

    vocab_size: int = 262_208
    max_position_embeddings: int = 131_072
    rope_theta: float | None = 1_000_000.0
    rope_local_base_freq: float = 10_000.0
    sliding_window_pattern: int = 6
    attn_logit_softcapping: float | None = None  # transformers reads it and does nothing
    final_logit_softcapping: float | None = None
    use_bidirectional_attention: bool | None = False

    def usual_type(self, layer: int) -> str:
        """The last of each six layers sees everything."""
        return SLIDING if (layer + 1) % self.sliding_window_pattern else FULL

    def rope(self, layer_type: str | None = FULL) -> dict[str, Any]:
        """The parameters of a kind of layer; the old keys of scaling are for those that see everything."""
        local = layer_type == SLIDING
        found = (self.rope_parameters or {}).get(layer_type or FULL) or (not local and self.rope_scaling) or {}
        return {"rope_theta": self.rope_local_base_freq if local else self.rope_theta, **found}

    def to_dict(self) -> dict[str, Any]:
        """Both ways, so that transformers 4 and 5 read the same."""
        return {**super().to_dict(), "rope_local_base_freq": self.rope(SLIDING)["rope_theta"]}

    def reaches(self) -> tuple[int | None, ...]:
        """A window that is seen both ways has half its width on either side."""
        if not self.use_bidirectional_attention or self.sliding_window is None:
            return super().reaches()
        return tuple(None if one is None else self.sliding_window // 2 for one in super().reaches())


GEMMA3_TEXT = gemma3_family(Gemma3TextConfig)
FAMILIES = (GEMMA3_TEXT,)
