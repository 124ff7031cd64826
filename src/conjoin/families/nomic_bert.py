"""Nomic BERT (https://arxiv.org/abs/2402.01613): an encoder, BERT with rotary positions, gates and no biases."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.bert_rows import BUFFERS, TASKS
from conjoin.families.shared.nomic_keys import NomicKeysConfig
from conjoin.families.shared.rope import rotary
from conjoin.spec import Family, Role, StackSpec, stack, table

__all__ = ["FAMILIES", "NOMIC_BERT", "NomicBertConfig"]


@config_class
@dataclass(kw_only=True)
class NomicBertConfig(NomicKeysConfig):
    """Sizes and settings of a Nomic BERT, with transformers' names and defaults; its authors' names are read too."""

    model_type: ClassVar[str] = "nomic_bert"

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    head_dim: int | None = None
    hidden_act: str = "silu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    rope_theta: float | None = 1000.0
    pad_token_id: int | None = 0


def read(config: NomicBertConfig) -> StackSpec:
    """The facts of an encoder."""
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    return stack(
        config,
        limit=config.max_position_embeddings,
        types=config.type_vocab_size,
        head_size=size,
        rotary=(rotary(config, size),) * config.num_hidden_layers,
        activation=config.hidden_act,
        gated=True,
        biases=frozenset(),
        norm_eps=config.layer_norm_eps,
        embed_norm=True,
        dropout=config.hidden_dropout_prob,
        embed_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
    )


LAYER = "encoder.layers.{}."
BODY = (
    *table("embed.", "", "token=embeddings.word_embeddings segment=embeddings.token_type_embeddings norm=emb_ln"),
    *table("layers.{}.attention.", LAYER + "attn.", "q+k+v=Wqkv o=out_proj"),
    *table(
        "layers.{}.", LAYER, "attention_norm=norm1 ffn.gate=mlp.fc12 ffn.up=mlp.fc11 ffn.down=mlp.fc2 ffn_norm=norm2"
    ),
)
ENCODER = Role("NomicBertModel", read, BODY, ("", "nomic_bert.", "bert."), (*BUFFERS, r"^cls\.", TASKS))

NOMIC_BERT = Family(config=NomicBertConfig, encoder=ENCODER)
FAMILIES = (NOMIC_BERT,)
