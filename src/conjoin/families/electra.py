"""ELECTRA (https://arxiv.org/abs/2003.10555): BERT with embeddings of a width of their own; as a decoder its generator."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.bert_rows import BODY
from conjoin.spec import StackSpec, row, table

__all__ = ["ELECTRA", "FAMILIES", "ElectraConfig"]


@config_class
@dataclass(kw_only=True)
class ElectraConfig(bert.BertConfig):
    """Sizes and settings of an ELECTRA, with transformers' names and defaults."""

    model_type: ClassVar[str] = "electra"
    irrelevant: ClassVar[frozenset[str]] = bert.BertConfig.irrelevant | frozenset(
        "summary_type summary_use_proj summary_activation summary_first_dropout summary_last_dropout "
        "summary_proj_to_labels generator_size".split()
    )

    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024


def read(config: ElectraConfig) -> StackSpec:
    """BERT's facts, with embeddings that are projected, and a head that knows one activation."""
    width = config.embedding_size if config.embedding_size != config.hidden_size else 0
    return replace(bert.read(config), embed_width=width, head_width=width, head_activation="gelu")


PROJECT = table("embed.", "", "project=embeddings_project")
HEAD = (
    *table("head.", "generator_predictions.", "dense=dense norm=LayerNorm", rooted=True),
    row("head.bias", "generator_lm_head.bias", rooted=True),
    row("output.weight", "generator_lm_head.weight", rooted=True),
)

ELECTRA = bert_family(
    ElectraConfig,
    "ElectraModel",
    "ElectraForCausalLM",
    "electra.",
    read,
    body=(*BODY, *PROJECT),
    head=HEAD,
    irrelevant=(r"^(generator_\w+|discriminator_predictions|sequence_summary)\.",),
)
FAMILIES = (ELECTRA,)
