"""DistilBERT (https://arxiv.org/abs/1910.01108): an encoder, BERT without token types and under names of its own."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_rows import TASKS
from conjoin.spec import StackSpec, stack, table

__all__ = ["DISTILBERT", "FAMILIES", "DistilBertConfig"]


@config_class
@dataclass(kw_only=True)
class DistilBertConfig(ModelConfig):
    """Sizes and settings of a DistilBERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "distilbert"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "intermediate_size": "hidden_dim",
    }
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "qa_dropout seq_classif_dropout sinusoidal_pos_embds tie_weights_".split()  # a file has its positions either way
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"position_embedding_type": ("absolute", None)}

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    pad_token_id: int | None = 0


def read(config: DistilBertConfig) -> StackSpec:
    """The facts of an encoder. What attention adds has no dropout."""
    return stack(
        config,
        positions=config.max_position_embeddings,
        activation=config.activation,
        norm_eps=1e-12,
        embed_norm=True,
        embed_dropout=config.dropout,
        ffn_dropout=config.dropout,
        attention_dropout=config.attention_dropout,
    )


LAYER = "transformer.layer.{}."
BODY = (
    *table("embed.", "embeddings.", "token=word_embeddings position=position_embeddings norm=LayerNorm"),
    *table("layers.{}.attention.", LAYER + "attention.", "q=q_lin k=k_lin v=v_lin o=out_lin"),
    *table(
        "layers.{}.", LAYER, "attention_norm=sa_layer_norm ffn.up=ffn.lin1 ffn.down=ffn.lin2 ffn_norm=output_layer_norm"
    ),
)
HEADS = (r"^vocab_(transform|layer_norm|projector)\.", r"^pre_classifier\.", TASKS)

DISTILBERT = bert_encoder(DistilBertConfig, "DistilBertModel", "distilbert.", read, BODY, HEADS)
FAMILIES = (DISTILBERT,)
