"""BERT (https://arxiv.org/abs/1810.04805): an encoder, or with a causal mask and cross-attention a decoder."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.spec import Family, Role, StackSpec, linear, norm, rooted, row

__all__ = ["BERT", "BertConfig"]


@config_class
@dataclass(kw_only=True)
class BertConfig(ModelConfig):
    """Sizes and settings of a BERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "bert"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head "
        "pooler_type classifier_dropout".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"position_embedding_type": ("absolute", None)}

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0


def read(config: BertConfig) -> StackSpec:
    """The body's facts; causal and cross as the config says."""
    return StackSpec(
        vocab=config.vocab_size,
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        ffn=config.intermediate_size,
        positions=config.max_position_embeddings,
        types=config.type_vocab_size,
        activation=config.hidden_act,
        norm_eps=config.layer_norm_eps,
        embed_norm=True,
        dropout=config.hidden_dropout_prob,
        embed_dropout=config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        head="transform" if config.is_decoder else "none",
        head_bias="trained" if config.is_decoder else "none",
        tied=config.tie_word_embeddings,
        initializer_range=config.initializer_range,
    )


L = "encoder.layer.{}."
BODY = (
    row("embed.token.weight", "embeddings.word_embeddings.weight"),
    row("embed.position.weight", "embeddings.position_embeddings.weight"),
    row("embed.segment.weight", "embeddings.token_type_embeddings.weight"),
    *norm("embed.norm", "embeddings.LayerNorm"),
    *linear("layers.{}.attention.q", L + "attention.self.query"),
    *linear("layers.{}.attention.k", L + "attention.self.key"),
    *linear("layers.{}.attention.v", L + "attention.self.value"),
    *linear("layers.{}.attention.o", L + "attention.output.dense"),
    *norm("layers.{}.attention_norm", L + "attention.output.LayerNorm"),
    *linear("layers.{}.ffn.up", L + "intermediate.dense"),
    *linear("layers.{}.ffn.down", L + "output.dense"),
    *norm("layers.{}.ffn_norm", L + "output.LayerNorm"),
)
CROSS = (
    *linear("layers.{}.cross.q", L + "crossattention.self.query"),
    *linear("layers.{}.cross.k", L + "crossattention.self.key"),
    *linear("layers.{}.cross.v", L + "crossattention.self.value"),
    *linear("layers.{}.cross.o", L + "crossattention.output.dense"),
    *norm("layers.{}.cross_norm", L + "crossattention.output.LayerNorm"),
    row("layers.{}.cross_gate", L + "crossattention.gate"),
)
HEAD = rooted(
    (
        *linear("head.dense", "cls.predictions.transform.dense"),
        *norm("head.norm", "cls.predictions.transform.LayerNorm"),
        # Where the head is untied, transformers 5 adds `decoder.bias` and leaves `bias` unused.
        row(
            "head.bias",
            "cls.predictions.bias",
            also=("cls.predictions.decoder.bias",),
            untied="cls.predictions.decoder.bias",
        ),
        row("output.weight", "cls.predictions.decoder.weight"),
    )
)
OLD_NAMES = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}
BUFFERS = (r"embeddings\.position_ids$", r"embeddings\.token_type_ids$", r"^(\w+\.)?pooler\.")

BERT = Family(
    config=BertConfig,
    old_names=OLD_NAMES,
    encoder=Role(
        architecture="BertModel",
        read=read,
        rows=BODY,
        prefixes=("", "bert."),
        irrelevant=(*BUFFERS, r"^cls\.", r"\.crossattention\.", r"^(classifier|qa_outputs)\."),
    ),
    decoder=Role(
        architecture="BertLMHeadModel",
        read=read,
        rows=(*BODY, *CROSS, *HEAD),
        prefixes=("bert.", ""),
        irrelevant=(
            *BUFFERS,
            r"^cls\.seq_relationship\.",
            r"^cls\.predictions\.decoder\.",
            r"^(classifier|qa_outputs)\.",
        ),
    ),
)
