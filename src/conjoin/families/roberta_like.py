"""RoBERTa under other names: XLM-RoBERTa, CamemBERT and data2vec for text."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import roberta
from conjoin.families.bert_like import bert_family

__all__ = [
    "CAMEMBERT",
    "DATA2VEC_TEXT",
    "FAMILIES",
    "XLM_ROBERTA",
    "CamembertConfig",
    "Data2VecTextConfig",
    "XLMRobertaConfig",
]


@config_class
@dataclass(kw_only=True)
class XLMRobertaConfig(roberta.RobertaConfig):
    """Sizes and settings of an XLM-RoBERTa (https://arxiv.org/abs/1911.02116), with transformers' names and defaults."""

    model_type: ClassVar[str] = "xlm-roberta"
    irrelevant: ClassVar[frozenset[str]] = roberta.RobertaConfig.irrelevant | {"output_past"}

    vocab_size: int = 30522


@config_class
@dataclass(kw_only=True)
class CamembertConfig(XLMRobertaConfig):
    """Sizes and settings of a CamemBERT (https://arxiv.org/abs/1911.03894), with transformers' names and defaults."""

    model_type: ClassVar[str] = "camembert"


@config_class
@dataclass(kw_only=True)
class Data2VecTextConfig(XLMRobertaConfig):
    """Sizes and settings of a data2vec for text (https://arxiv.org/abs/2202.03555), with transformers' defaults."""

    model_type: ClassVar[str] = "data2vec-text"


XLM_ROBERTA = bert_family(
    XLMRobertaConfig, "XLMRobertaModel", "XLMRobertaForCausalLM", "roberta.", roberta.read, head=roberta.HEAD
)
CAMEMBERT = bert_family(
    CamembertConfig, "CamembertModel", "CamembertForCausalLM", "roberta.", roberta.read, head=roberta.HEAD
)
DATA2VEC_TEXT = bert_family(
    Data2VecTextConfig,
    "Data2VecTextModel",
    "Data2VecTextForCausalLM",
    "data2vec_text.",
    roberta.read,
    head=roberta.HEAD,
)
FAMILIES = (XLM_ROBERTA, CAMEMBERT, DATA2VEC_TEXT)
