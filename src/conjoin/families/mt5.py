"""mT5 (https://arxiv.org/abs/2010.11934): a T5 1.1 of many languages, whatever its config says of ties."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families.shared.t5_like import t5_family, t5_stack
from conjoin.families.t5 import T5Config
from conjoin.spec import RoleName, StackSpec

__all__ = ["FAMILIES", "MT5", "MT5Config"]


@config_class
@dataclass(kw_only=True)
class MT5Config(T5Config):
    """Sizes and settings of an mT5, with transformers' names and defaults."""

    model_type: ClassVar[str] = "mt5"

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"

    def to_dict(self) -> dict[str, Any]:
        """As of any config; transformers 5 calls every mT5 tied and never scales its logits, 4 scales where it is tied."""
        return {**super().to_dict(), "tie_word_embeddings": False}


def read(config: MT5Config, role: RoleName) -> StackSpec:
    """T5's facts, of its version 1.1."""
    return replace(t5_stack(config, role), logit_scale=1.0, tied=False)


MT5 = t5_family(MT5Config, "MT5", read)
FAMILIES = (MT5,)
