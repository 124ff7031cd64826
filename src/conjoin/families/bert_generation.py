"""BERT for generation (https://arxiv.org/abs/1907.12461): BERT without token types, and without layers in its head."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_family
from conjoin.spec import StackSpec, row

__all__ = ["BERT_GENERATION", "FAMILIES", "BertGenerationConfig"]


@config_class
@dataclass(kw_only=True)
class BertGenerationConfig(bert.BertConfig):
    """Sizes and settings of a BERT for generation, with transformers' names and defaults."""

    model_type: ClassVar[str] = "bert-generation"

    vocab_size: int = 50358
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    type_vocab_size: int = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1


def read(config: BertGenerationConfig) -> StackSpec:
    """BERT's facts without token types, and with nothing between the last state and the output embedding."""
    return replace(bert.read(config), types=0, head="plain" if config.is_decoder else "none")


HEAD = (
    row("head.bias", "lm_head.bias", rooted=True, untied="lm_head.decoder.bias"),
    row("output.weight", "lm_head.decoder.weight", rooted=True),
)

BERT_GENERATION = bert_family(
    BertGenerationConfig, "BertGenerationEncoder", "BertGenerationDecoder", "bert.", read, head=HEAD
)
FAMILIES = (BERT_GENERATION,)
