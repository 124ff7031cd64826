"""CamemBERT (https://arxiv.org/abs/1911.03894): RoBERTa of French."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import roberta
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.xlm_roberta import XLMRobertaConfig

__all__ = ["CAMEMBERT", "FAMILIES", "CamembertConfig"]


@config_class
@dataclass(kw_only=True)
class CamembertConfig(XLMRobertaConfig):
    """Sizes and settings of a CamemBERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "camembert"


CAMEMBERT = bert_family(
    CamembertConfig, "CamembertModel", "CamembertForCausalLM", "roberta.", roberta.read, head=roberta.HEAD
)
FAMILIES = (CAMEMBERT,)
