"""data2vec (https://arxiv.org/abs/2202.03555) for text: RoBERTa under another name."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import roberta
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.xlm_roberta import XLMRobertaConfig

__all__ = ["DATA2VEC_TEXT", "FAMILIES", "Data2VecTextConfig"]


@config_class
@dataclass(kw_only=True)
class Data2VecTextConfig(XLMRobertaConfig):
    """Sizes and settings of a data2vec for text, with transformers' names and defaults."""

    model_type: ClassVar[str] = "data2vec-text"


DATA2VEC_TEXT = bert_family(
    Data2VecTextConfig,
    "Data2VecTextModel",
    "Data2VecTextForCausalLM",
    "data2vec_text.",
    roberta.read,
    head=roberta.HEAD,
)
FAMILIES = (DATA2VEC_TEXT,)
