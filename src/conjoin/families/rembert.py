"""RemBERT (https://arxiv.org/abs/2010.12821): BERT with narrow input embeddings and wide output embeddings, never tied."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.bert_positions import ABSOLUTE
from conjoin.families.shared.bert_rows import BODY
from conjoin.spec import StackSpec, row, table

__all__ = ["FAMILIES", "REMBERT", "RemBertConfig"]


@config_class
@dataclass(kw_only=True)
class RemBertConfig(bert.BertConfig):
    """Sizes and settings of a RemBERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "rembert"
    place_kinds: ClassVar[tuple[str, ...]] = ABSOLUTE
    irrelevant: ClassVar[frozenset[str]] = bert.BertConfig.irrelevant | {"classifier_dropout_prob"}

    vocab_size: int = 250300
    hidden_size: int = 1152
    num_hidden_layers: int = 32
    num_attention_heads: int = 18
    input_embedding_size: int = 256
    output_embedding_size: int = 1664
    intermediate_size: int = 4608
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    bos_token_id: int | None = 312
    eos_token_id: int | list[int] | None = 313
    tie_word_embeddings: bool = False


def read(config: RemBertConfig) -> StackSpec:
    """BERT's facts, with embeddings that are projected always, even to their own width, and an output of its own."""
    return replace(
        bert.read(config),
        embed_width=config.input_embedding_size,
        head_width=config.output_embedding_size,
        tied=False,
    )


PROJECT = table("embed.", "encoder.", "project=embedding_hidden_mapping_in")
HEAD = (
    *table("head.", "cls.predictions.", "dense=dense norm=LayerNorm", rooted=True),
    row("head.bias", "cls.predictions.decoder.bias", rooted=True),
    row("output.weight", "cls.predictions.decoder.weight", rooted=True),
)

REMBERT = bert_family(
    RemBertConfig,
    "RemBertModel",
    "RemBertForCausalLM",
    "rembert.",
    read,
    body=(*BODY, *PROJECT),
    head=HEAD,
)
FAMILIES = (REMBERT,)
