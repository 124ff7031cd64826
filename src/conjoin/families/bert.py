"""BERT (https://arxiv.org/abs/1810.04805): an encoder, or with a causal mask and cross-attention a decoder."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.bert_positions import PlacesConfig
from conjoin.families.shared.bert_rows import BODY, BUFFERS, CROSS, HEAD, OLD_NAMES, TASKS
from conjoin.spec import Family, Role, StackSpec, stack

__all__ = ["BERT", "FAMILIES", "BertConfig"]


@config_class
@dataclass(kw_only=True)
class BertConfig(PlacesConfig):
    """Sizes and settings of a BERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "bert"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head "
        "pooler_type classifier_dropout".split()
    )

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0


def read(config: BertConfig) -> StackSpec:
    """The facts of an encoder, or with a head of a decoder."""
    return stack(
        config,
        **config.places(),
        types=config.type_vocab_size,
        activation=config.hidden_act,
        norm_eps=config.layer_norm_eps,
        embed_norm=True,
        dropout=config.hidden_dropout_prob,
        embed_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        head="transform" if config.is_decoder else "none",
        head_bias="trained" if config.is_decoder else "none",
    )


BERT = Family(
    config=BertConfig,
    old_names=OLD_NAMES,
    encoder=Role("BertModel", read, BODY, ("", "bert."), (*BUFFERS, r"^cls\.", r"\.crossattention\.", TASKS)),
    decoder=Role(
        "BertLMHeadModel",
        read,
        (*BODY, *CROSS, *HEAD),
        ("bert.", ""),
        (*BUFFERS, r"^cls\.seq_relationship\.", r"^cls\.predictions\.decoder\.", TASKS),
    ),
)
FAMILIES = (BERT,)
