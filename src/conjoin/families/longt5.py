"""LongT5 (https://arxiv.org/abs/2112.07916): a T5 whose encoder sees only what is near."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.shared.t5_like import t5_family, t5_stack
from conjoin.families.t5 import T5Config
from conjoin.spec import RoleName, StackSpec

__all__ = ["FAMILIES", "LONGT5", "LongT5Config"]


@config_class
@dataclass(kw_only=True)
class LongT5Config(T5Config):
    """Sizes and settings of a LongT5, with transformers' names and defaults."""

    model_type: ClassVar[str] = "longt5"
    irrelevant: ClassVar[frozenset[str]] = T5Config.irrelevant | {"global_block_size"}

    local_radius: int = 127
    encoder_attention_type: str = "local"


def read(config: LongT5Config, role: RoleName) -> StackSpec:
    """T5's facts; in the encoder with a reach. Raises ConfigError for an encoder that sums up blocks."""
    spec = t5_stack(config, role)
    if role == "decoder":
        return spec
    if config.encoder_attention_type != "local":
        raise ConfigError(
            f"longt5: \"encoder_attention_type\" is {config.encoder_attention_type!r}; only 'local' is implemented for the "
            f"encoder. The decoder of such a checkpoint can be used."
        )
    return replace(spec, reaches=(config.local_radius,) * spec.layers)


LONGT5 = t5_family(LongT5Config, "LongT5", read, "LocalSelfAttention")
FAMILIES = (LONGT5,)
