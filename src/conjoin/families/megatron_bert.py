"""Megatron-BERT (https://arxiv.org/abs/1909.08053): BERT with norms before each sublayer."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.prenorm_rows import body, cross
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "MEGATRON_BERT", "MegatronBertConfig"]


@config_class
@dataclass(kw_only=True)
class MegatronBertConfig(bert.BertConfig):
    """Sizes and settings of a Megatron-BERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "megatron-bert"

    vocab_size: int = 29056
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096


def read(config: MegatronBertConfig) -> StackSpec:
    """BERT's facts, with norms first and none over the embeddings."""
    return replace(bert.read(config), norms="pre", final_norm=True, embed_norm=False)


MEGATRON_BERT = bert_family(
    MegatronBertConfig,
    "MegatronBertModel",
    "MegatronBertForCausalLM",
    "bert.",
    read,
    body=body("encoder.ln", "attention.ln", "ln"),
    cross=cross("ln"),
)
FAMILIES = (MEGATRON_BERT,)
