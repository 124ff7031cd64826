"""BART (https://arxiv.org/abs/1910.13461): its encoder, or its decoder with the cross-attention it was trained with."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families.shared.bart_fields import sided_stack
from conjoin.families.shared.bart_like import sided_family
from conjoin.families.shared.sided import SidedConfig
from conjoin.spec import RoleName, StackSpec

__all__ = ["BART", "FAMILIES", "BartConfig"]


@config_class
@dataclass(kw_only=True)
class BartConfig(SidedConfig):
    """Sizes and settings of a BART, with transformers' names and defaults."""

    model_type: ClassVar[str] = "bart"

    max_position_embeddings: int = 1024
    scale_embedding: bool = False
    forced_eos_token_id: int | list[int] | None = 2


def read(config: Any, role: RoleName, **facts: Any) -> StackSpec:
    """The facts of one side, but for those in which a relative of BART's differs."""
    decoder = role == "decoder"
    own = {
        "positions": config.max_position_embeddings + 2,
        "position_offset": 2,
        "embed_norm": True,
        "embed_scale": config.d_model**0.5 if config.scale_embedding else 1.0,
        "head": "plain" if decoder else "none",
        "head_bias": "fixed" if decoder else "none",
    }
    return sided_stack(config, role, **{**own, **facts})


BART = sided_family(BartConfig, "Bart", read)
FAMILIES = (BART,)
