"""XLM-RoBERTa-XL (https://arxiv.org/abs/2105.00572): XLM-RoBERTa with norms before each sublayer, much larger."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import roberta
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.prenorm_rows import body, cross
from conjoin.families.xlm_roberta import XLMRobertaConfig
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "XLM_ROBERTA_XL", "XLMRobertaXLConfig"]


@config_class
@dataclass(kw_only=True)
class XLMRobertaXLConfig(XLMRobertaConfig):
    """Sizes and settings of an XLM-RoBERTa-XL, with transformers' names and defaults."""

    model_type: ClassVar[str] = "xlm-roberta-xl"

    vocab_size: int = 250880
    hidden_size: int = 2560
    num_hidden_layers: int = 36
    num_attention_heads: int = 32
    intermediate_size: int = 10240
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    layer_norm_eps: float = 1e-5


def read(config: XLMRobertaXLConfig) -> StackSpec:
    """RoBERTa's facts, with norms first, none over the embeddings, and no dropout after the feed-forward."""
    return replace(roberta.read(config), norms="pre", final_norm=True, embed_norm=False, ffn_dropout=0.0)


XLM_ROBERTA_XL = bert_family(
    XLMRobertaXLConfig,
    "XLMRobertaXLModel",
    "XLMRobertaXLForCausalLM",
    "roberta.",
    read,
    body=body("encoder.LayerNorm", "attention.self_attn_layer_norm", "LayerNorm"),
    cross=cross("self_attn_layer_norm"),
    head=roberta.HEAD,
)
FAMILIES = (XLM_ROBERTA_XL,)
