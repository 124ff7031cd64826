"""LongT5 (https://arxiv.org/abs/2112.07916): a T5 whose encoder sees what is near, and sums of blocks where asked."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.shared.t5_like import t5_family, t5_stack
from conjoin.families.shared.t5_rows import attention_rows, distance_rows
from conjoin.families.t5 import T5Config
from conjoin.spec import Local, Relative, RoleName, StackSpec, table

__all__ = ["FAMILIES", "LONGT5", "LongT5Config"]

KINDS = ("local", "transient-global")


@config_class
@dataclass(kw_only=True)
class LongT5Config(T5Config):
    """Sizes and settings of a LongT5, with transformers' names and defaults."""

    model_type: ClassVar[str] = "longt5"

    local_radius: int = 127  # tokens
    global_block_size: int = 16  # tokens
    encoder_attention_type: str = "local"

    def attention(self) -> Local:
        """What the encoder sees. Raises ConfigError for a kind that is not known."""
        kind = self.encoder_attention_type
        if kind not in KINDS:
            raise ConfigError(f'longt5: "encoder_attention_type" is {kind!r}; {" or ".join(KINDS)} was expected.')
        distances = Relative(self.relative_attention_num_buckets, self.relative_attention_max_distance)
        return Local(self.local_radius, distances, self.global_block_size if kind == "transient-global" else 0)


def read(config: LongT5Config, role: RoleName) -> StackSpec:
    """T5's facts; the encoder with attention of its own."""
    spec = t5_stack(config, role)
    return spec if role == "decoder" else replace(spec, relative=None, attention=config.attention())


NEAR, BOTH = "LocalSelfAttention", "TransientGlobalSelfAttention"
ATTENTION = (
    *attention_rows(NEAR, without="sum_norm"),
    *distance_rows("shared.near", NEAR, without="far"),
    *attention_rows(BOTH, beside="sum_norm"),
    *distance_rows("shared.near", BOTH, beside="far"),
    *distance_rows("shared.far", BOTH, "global_relative"),
    *table("layers.{}.attention.", f"block.{{}}.layer.0.{BOTH}.", "sum_norm=global_input_layer_norm"),
)

LONGT5 = t5_family(LongT5Config, "LongT5", read, attention=ATTENTION)
FAMILIES = (LONGT5,)
