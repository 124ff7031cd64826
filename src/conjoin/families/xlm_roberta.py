"""XLM-RoBERTa (https://arxiv.org/abs/1911.02116): RoBERTa of many languages."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import roberta
from conjoin.families.shared.bert_like import bert_family

__all__ = ["FAMILIES", "XLM_ROBERTA", "XLMRobertaConfig"]


@config_class
@dataclass(kw_only=True)
class XLMRobertaConfig(roberta.RobertaConfig):
    """Sizes and settings of an XLM-RoBERTa, with transformers' names and defaults."""

    model_type: ClassVar[str] = "xlm-roberta"
    irrelevant: ClassVar[frozenset[str]] = roberta.RobertaConfig.irrelevant | {"output_past"}

    vocab_size: int = 30522


XLM_ROBERTA = bert_family(
    XLMRobertaConfig, "XLMRobertaModel", "XLMRobertaForCausalLM", "roberta.", roberta.read, head=roberta.HEAD
)
FAMILIES = (XLM_ROBERTA,)
