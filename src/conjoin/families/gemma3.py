"""Gemma 3 (https://arxiv.org/abs/2503.19786): its text model, alone or out of the file of one that sees images, too.

Most layers attend to a window and have rotary positions of their own. With `use_bidirectional_attention`
(EmbeddingGemma, https://arxiv.org/abs/2509.20354) it is an encoder that sees both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import gemma2
from conjoin.families.llama import gated_family
from conjoin.families.qwen import HEAD_NORMS
from conjoin.families.rope import rotary
from conjoin.families.windows import FULL, SLIDING
from conjoin.spec import Family, Role, StackSpec

__all__ = ["FAMILIES", "GEMMA3", "GEMMA3_TEXT", "Gemma3Config", "Gemma3TextConfig"]


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


class Gemma3Config(Gemma3TextConfig):
    """The config of a Gemma 3 that sees images, read as that of its text model."""

    model_type: ClassVar[str] = "gemma3"

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Gemma3TextConfig:  # type: ignore[override]
        """The text model's config, with the special tokens of the whole."""
        text = found.get("text_config")
        if not isinstance(text, Mapping):
            raise ConfigError(f'gemma3: "text_config" is {text!r}; an object was expected.')
        tokens = {key: found[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if key in found}
        return Gemma3TextConfig.from_dict({**text, **tokens})


def read(config: Gemma3TextConfig) -> StackSpec:
    """The facts of a Gemma 3; those that see both ways are encoders."""
    if config.is_decoder and config.use_bidirectional_attention:
        raise ConfigError('gemma3_text: "use_bidirectional_attention" is true; such a model cannot be a decoder.')
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    turns = {kind: rotary(config, size, kind) for kind in (FULL, SLIDING)}
    return gemma2.sandwich_stack(
        config,
        rotary=tuple(turns[kind] for kind in config.types()),
        causal=not config.use_bidirectional_attention,
        query_key_norm=True,
    )


IMAGES = (r"^(model\.)?(vision_tower|multi_modal_projector)\.", r"^language_model\.lm_head\.weight$")


def within_images(role: Role, architecture: str) -> Role:
    """The role, found in the file of a model that sees images, too."""
    prefixes = (*role.prefixes, "model.language_model.", "language_model.model.")
    return replace(role, architecture=architecture, prefixes=prefixes, irrelevant=(*role.irrelevant, *IMAGES))


TEXT = gated_family(Gemma3TextConfig, "Gemma3Text", read, (*gemma2.BODY, *HEAD_NORMS))
GEMMA3_TEXT = replace(
    TEXT,
    encoder=TEXT.encoder and within_images(TEXT.encoder, "Gemma3TextModel"),
    decoder=TEXT.decoder and within_images(TEXT.decoder, "Gemma3ForCausalLM"),
)
GEMMA3: Family = replace(GEMMA3_TEXT, config=Gemma3Config)
FAMILIES = (GEMMA3_TEXT, GEMMA3)
