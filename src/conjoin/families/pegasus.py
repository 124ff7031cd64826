"""PEGASUS (https://arxiv.org/abs/1912.08777): mBART's norms and Marian's positions."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bart, marian, mbart
from conjoin.families.shared.bart_like import sided_family
from conjoin.spec import RoleName, StackSpec

__all__ = ["FAMILIES", "PEGASUS", "PegasusConfig"]


@config_class
@dataclass(kw_only=True)
class PegasusConfig(bart.BartConfig):
    """Sizes and settings of a PEGASUS, with transformers' names and defaults."""

    model_type: ClassVar[str] = "pegasus"
    only: ClassVar[dict[str, tuple[object, ...]]] = {**mbart.PRE_NORM, **marian.COMPUTED}

    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 1
    decoder_start_token_id: int | None = 0
    forced_eos_token_id: int | list[int] | None = 1


def read(config: PegasusConfig, role: RoleName) -> StackSpec:
    """mBART's norms and Marian's positions."""
    return marian.read(config, role, norms="pre", final_norm=True)


PEGASUS = sided_family(PegasusConfig, "Pegasus", read, (*marian.BODY, *mbart.FINAL), buffers=marian.TABLE)
FAMILIES = (PEGASUS,)
