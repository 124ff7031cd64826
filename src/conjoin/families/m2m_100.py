"""M2M-100 (https://arxiv.org/abs/2010.11125) and NLLB-200 but for its mixture of experts: PEGASUS, positions skip padding."""

from dataclasses import dataclass
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.families import bart, marian, mbart
from conjoin.families.plbart import RELICS
from conjoin.families.shared.bart_like import sided_family
from conjoin.families.shared.bart_rows import SHARED
from conjoin.spec import RoleName, StackSpec, row

__all__ = ["FAMILIES", "M2M_100", "M2M100Config"]


@config_class
@dataclass(kw_only=True)
class M2M100Config(bart.BartConfig):
    """Sizes and settings of an M2M-100, with transformers' names and defaults."""

    model_type: ClassVar[str] = "m2m_100"
    # Its checkpoints were trained with layers left out now and then, which says nothing about what they compute.
    irrelevant: ClassVar[frozenset[str]] = RELICS | {"encoder_layerdrop", "decoder_layerdrop"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {}
    whole: ClassVar[bool] = True

    vocab_size: int = 128112
    activation_function: str = "relu"
    attention_dropout: float = 0.1
    scale_embedding: bool = True
    forced_eos_token_id: int | list[int] | None = None


def counted(config: Any) -> dict[str, Any]:
    """Computed positions, counted from behind the padding's number, which skip padding."""
    pad = 1 if config.pad_token_id is None else config.pad_token_id
    rows = config.max_position_embeddings + pad + 1
    return {"positions": rows, "position_offset": pad + 1, "position_pad": pad, "sinusoidal": "fairseq"}


def read(config: M2M100Config, role: RoleName) -> StackSpec:
    """PEGASUS's facts, but for positions that skip padding."""
    return marian.read(config, role, norms="pre", final_norm=True, head_bias="none", **counted(config))


M2M_100 = sided_family(
    M2M100Config,
    "M2M100",
    read,
    (*marian.BODY, *mbart.FINAL),
    alone="ForConditionalGeneration",
    head=(row("output.weight", "lm_head.weight", rooted=True, also=SHARED),),
    buffers=marian.TABLE,
)
FAMILIES = (M2M_100,)
