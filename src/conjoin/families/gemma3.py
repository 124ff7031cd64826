"""Gemma 3 (https://arxiv.org/abs/2503.19786) out of the file of a model that sees images, too: its text model."""

from collections.abc import Mapping
from typing import Any, ClassVar

from conjoin.errors import ConfigError
from conjoin.families.gemma3_text import Gemma3TextConfig
from conjoin.families.shared.gemma3_like import gemma3_family

__all__ = ["FAMILIES", "GEMMA3", "Gemma3Config"]


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


GEMMA3 = gemma3_family(Gemma3Config)
FAMILIES = (GEMMA3,)
