"""umT5 (https://arxiv.org/abs/2304.09151): an mT5 with a table of distances in every layer."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.t5_like import t5_family, t5_stack
from conjoin.families.t5 import T5Config
from conjoin.spec import RoleName, StackSpec

__all__ = ["FAMILIES", "UMT5", "UMT5Config"]


@config_class
@dataclass(kw_only=True)
class UMT5Config(T5Config):
    """Sizes and settings of a umT5, with transformers' names and defaults."""

    model_type: ClassVar[str] = "umt5"

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"


def read(config: UMT5Config, role: RoleName) -> StackSpec:
    """T5's facts with a table a layer; files have an output embedding of their own whether logits are scaled or not."""
    return replace(t5_stack(config, role, each_layer=True), tied=False)


UMT5 = t5_family(UMT5Config, "UMT5", read, each_layer=True)
FAMILIES = (UMT5,)
