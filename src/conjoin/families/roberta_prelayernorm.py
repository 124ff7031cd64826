"""RoBERTa-PreLayerNorm (https://arxiv.org/abs/1904.01038): RoBERTa with norms before each sublayer."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import roberta
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.prenorm_rows import body, cross
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "ROBERTA_PRELAYERNORM", "RobertaPreLayerNormConfig"]


@config_class
@dataclass(kw_only=True)
class RobertaPreLayerNormConfig(roberta.RobertaConfig):
    """Sizes and settings of a RoBERTa-PreLayerNorm, with transformers' names and defaults."""

    model_type: ClassVar[str] = "roberta-prelayernorm"


def read(config: RobertaPreLayerNormConfig) -> StackSpec:
    """RoBERTa's facts, with norms first."""
    return replace(roberta.read(config), norms="pre", final_norm=True)


ROBERTA_PRELAYERNORM = bert_family(
    RobertaPreLayerNormConfig,
    "RobertaPreLayerNormModel",
    "RobertaPreLayerNormForCausalLM",
    "roberta_prelayernorm.",
    read,
    body=body("LayerNorm", "attention.LayerNorm", "intermediate.LayerNorm", "embed.norm=LayerNorm"),
    cross=cross("LayerNorm"),
    head=roberta.HEAD,
)
FAMILIES = (ROBERTA_PRELAYERNORM,)
