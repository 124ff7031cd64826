"""mBART (https://arxiv.org/abs/2001.08210): BART of many languages, with norms before each sublayer."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart
from conjoin.families.shared.bart_like import sided_family
from conjoin.families.shared.bart_rows import BODY
from conjoin.spec import RoleName, StackSpec, table

__all__ = ["FAMILIES", "MBART", "MBartConfig"]
PRE_NORM: dict[str, tuple[object, ...]] = {
    **bart.BartConfig.only,
    "add_final_layer_norm": (True,),
    "normalize_before": (True,),
}


@config_class
@dataclass(kw_only=True)
class MBartConfig(bart.BartConfig):
    """Sizes and settings of an mBART, with transformers' names and defaults."""

    model_type: ClassVar[str] = "mbart"
    only: ClassVar[dict[str, tuple[object, ...]]] = PRE_NORM

    decoder_start_token_id: int | None = None


def read(config: MBartConfig, role: RoleName) -> StackSpec:
    """BART's facts with norms before each sublayer and a last one."""
    return bart.read(config, role, norms="pre", final_norm=True)


FINAL = table("", "", "norm=layer_norm")

MBART = sided_family(MBartConfig, "MBart", read, (*BODY, *FINAL))
FAMILIES = (MBART,)
