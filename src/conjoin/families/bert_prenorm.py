"""BERT and RoBERTa with norms before each sublayer: Megatron-BERT, RoBERTa-PreLayerNorm and XLM-RoBERTa-XL."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert, roberta
from conjoin.families.bert_like import bert_family
from conjoin.families.roberta_like import XLMRobertaConfig
from conjoin.spec import Row, StackSpec, table

__all__ = [
    "FAMILIES",
    "MEGATRON_BERT",
    "ROBERTA_PRELAYERNORM",
    "XLM_ROBERTA_XL",
    "MegatronBertConfig",
    "RobertaPreLayerNormConfig",
    "XLMRobertaXLConfig",
]


@config_class
@dataclass(kw_only=True)
class MegatronBertConfig(bert.BertConfig):
    """Sizes and settings of a Megatron-BERT (https://arxiv.org/abs/1909.08053), with transformers' defaults."""

    model_type: ClassVar[str] = "megatron-bert"

    vocab_size: int = 29056
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096


@config_class
@dataclass(kw_only=True)
class RobertaPreLayerNormConfig(roberta.RobertaConfig):
    """Sizes and settings of a RoBERTa-PreLayerNorm (https://arxiv.org/abs/1904.01038), with transformers' defaults."""

    model_type: ClassVar[str] = "roberta-prelayernorm"


@config_class
@dataclass(kw_only=True)
class XLMRobertaXLConfig(XLMRobertaConfig):
    """Sizes and settings of an XLM-RoBERTa-XL (https://arxiv.org/abs/2105.00572), with transformers' defaults."""

    model_type: ClassVar[str] = "xlm-roberta-xl"

    vocab_size: int = 250880
    hidden_size: int = 2560
    num_hidden_layers: int = 36
    num_attention_heads: int = 32
    intermediate_size: int = 10240
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5


def read_megatron(config: MegatronBertConfig) -> StackSpec:
    """BERT's facts, with norms first and none over the embeddings."""
    return replace(bert.read(config), norms="pre", final_norm=True, embed_norm=False)


def read_prelayernorm(config: RobertaPreLayerNormConfig) -> StackSpec:
    """RoBERTa's facts, with norms first."""
    return replace(roberta.read(config), norms="pre", final_norm=True)


def read_xl(config: XLMRobertaXLConfig) -> StackSpec:
    """RoBERTa's facts, with norms first, none over the embeddings, and no dropout after the feed-forward."""
    return replace(roberta.read(config), norms="pre", final_norm=True, embed_norm=False, ffn_dropout=0.0)


EMBED = "embed.token=word_embeddings embed.position=position_embeddings embed.segment=token_type_embeddings "
PRODUCTS = (
    "attention.q=attention.self.query attention.k=attention.self.key attention.v=attention.self.value "
    "attention.o=attention.output.dense ffn.up=intermediate.dense ffn.down=output.dense "
)
CROSS_PRODUCTS = ".q=self.query .k=self.key .v=self.value .o=output.dense _gate:=gate "


def body(last: str, attention: str, feed_forward: str, embed: str = "") -> tuple[Row, ...]:
    """The body's rows, by the names of the last norm and of a layer's two norms."""
    return (
        *table("", "embeddings.", EMBED + embed),
        *table("", "", f"norm={last}"),
        *table("layers.{}.", bert.LAYER, f"{PRODUCTS}attention_norm={attention} ffn_norm={feed_forward}"),
    )


def cross(norm: str) -> tuple[Row, ...]:
    """Cross-attention's rows, by the name of its norm."""
    return table("layers.{}.cross", bert.LAYER + "crossattention.", f"{CROSS_PRODUCTS}_norm={norm}")


MEGATRON_BERT = bert_family(
    MegatronBertConfig,
    "MegatronBertModel",
    "MegatronBertForCausalLM",
    "bert.",
    read_megatron,
    body=body("encoder.ln", "attention.ln", "ln"),
    cross=cross("ln"),
)
ROBERTA_PRELAYERNORM = bert_family(
    RobertaPreLayerNormConfig,
    "RobertaPreLayerNormModel",
    "RobertaPreLayerNormForCausalLM",
    "roberta_prelayernorm.",
    read_prelayernorm,
    body=body("LayerNorm", "attention.LayerNorm", "intermediate.LayerNorm", "embed.norm=LayerNorm"),
    cross=cross("LayerNorm"),
    head=roberta.HEAD,
)
XLM_ROBERTA_XL = bert_family(
    XLMRobertaXLConfig,
    "XLMRobertaXLModel",
    "XLMRobertaXLForCausalLM",
    "roberta.",
    read_xl,
    body=body("encoder.LayerNorm", "attention.self_attn_layer_norm", "LayerNorm"),
    cross=cross("self_attn_layer_norm"),
    head=roberta.HEAD,
)
FAMILIES = (MEGATRON_BERT, ROBERTA_PRELAYERNORM, XLM_ROBERTA_XL)
