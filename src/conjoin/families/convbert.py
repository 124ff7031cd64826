"""ConvBERT (https://arxiv.org/abs/2008.02496): BERT with a dynamic convolution in the place of half the heads."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import bert
from conjoin.families.shared import bert_rows
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_positions import ABSOLUTE
from conjoin.spec import SpanConvolution, StackSpec, row, table

__all__ = ["CONVBERT", "FAMILIES", "ConvBertConfig"]


@config_class
@dataclass(kw_only=True)
class ConvBertConfig(bert.BertConfig):
    """Sizes and settings of a ConvBERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "convbert"
    place_kinds: ClassVar[tuple[str, ...]] = ABSOLUTE
    irrelevant: ClassVar[frozenset[str]] = bert.BertConfig.irrelevant | frozenset(
        "summary_activation summary_last_dropout summary_type summary_use_proj".split()
    )

    embedding_size: int = 768
    head_ratio: int = 2
    conv_kernel_size: int = 9
    num_groups: int = 1
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def read(config: ConvBertConfig) -> StackSpec:
    """The facts of an encoder. Raises ConfigError for an even kernel, which would not keep the length."""
    if config.conv_kernel_size % 2 == 0:
        raise ConfigError(f'convbert: "conv_kernel_size" is {config.conv_kernel_size}; an odd number was expected.')
    heads = config.num_attention_heads // config.head_ratio or 1
    return replace(
        bert.read(config),
        heads=heads,
        head_size=config.hidden_size // heads // 2,
        embed_width=0 if config.embedding_size == config.hidden_size else config.embedding_size,
        attention=SpanConvolution(config.conv_kernel_size),
        ffn_groups=config.num_groups,
    )


SELF = bert_rows.LAYER + "attention.self."
BODY = (
    *bert_rows.BODY,
    *table("embed.", "", "project=embeddings_project"),
    *table("layers.{}.attention.", SELF, "kernels=conv_kernel_layer content=conv_out_layer"),
    row("layers.{}.attention.depthwise", SELF + "key_conv_attn_layer.depthwise.weight"),
    row("layers.{}.attention.pointwise", SELF + "key_conv_attn_layer.pointwise.weight"),
    row("layers.{}.attention.span_bias", SELF + "key_conv_attn_layer.bias"),
)
HEADS = (r"^generator_(predictions|lm_head)\.", r"^(sequence_summary|classifier|qa_outputs)\.")

CONVBERT = bert_encoder(ConvBertConfig, "ConvBertModel", "convbert.", read, BODY, HEADS)
FAMILIES = (CONVBERT,)
