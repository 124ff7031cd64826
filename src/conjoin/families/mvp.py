"""MVP (https://arxiv.org/abs/2206.12131): BART, where it has no prompts."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.families.plbart import NO_LAYER_DROP, RELICS
from conjoin.families.shared.bart_like import sided_family

__all__ = ["FAMILIES", "MVP", "MvpConfig"]


@config_class
@dataclass(kw_only=True)
class MvpConfig(bart.BartConfig):
    """Sizes and settings of an MVP, with transformers' names and defaults."""

    model_type: ClassVar[str] = "mvp"
    irrelevant: ClassVar[frozenset[str]] = RELICS | {"prompt_length", "prompt_mid_dim"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {**NO_LAYER_DROP, "use_prompt": (False,)}

    vocab_size: int = 50267
    forced_eos_token_id: int | list[int] | None = None


MVP = sided_family(MvpConfig, "Mvp", bart.read)
FAMILIES = (MVP,)
