"""ALBERT (https://arxiv.org/abs/1909.11942): an encoder, BERT whose layers share their weights; narrow embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_rows import EMBED, TASKS
from conjoin.spec import StackSpec, table

__all__ = ["ALBERT", "FAMILIES", "AlbertConfig"]


@config_class
@dataclass(kw_only=True)
class AlbertConfig(bert.BertConfig):
    """Sizes and settings of an ALBERT, with transformers' names and defaults."""

    model_type: ClassVar[str] = "albert"
    irrelevant: ClassVar[frozenset[str]] = bert.BertConfig.irrelevant | frozenset(
        "classifier_dropout_prob down_scale_factor gap_size layers_to_keep net_structure_type num_memory_blocks".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"inner_group_num": (1,)}

    vocab_size: int = 30000
    embedding_size: int = 128
    hidden_size: int = 4096
    num_hidden_groups: int = 1
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3

    def of_layers(self, layers: Sequence[int]) -> dict[str, Any]:
        """Nothing more. Raises ConfigError where layers are of several groups, as no config says which of them stay."""
        if self.num_hidden_groups > 1:
            raise ConfigError(
                f"{self.model_type}: its layers are of {self.num_hidden_groups} groups, so that some cannot be kept; set "
                f"num_hidden_layers instead."
            )
        return {}


def read(config: AlbertConfig) -> StackSpec:
    """BERT's facts; embeddings are projected always, and what a feed-forward adds has no dropout."""
    each = config.num_hidden_layers / config.num_hidden_groups
    blocks = tuple(int(i / each) for i in range(config.num_hidden_layers))
    return replace(bert.read(config), embed_width=config.embedding_size, ffn_dropout=0.0, blocks=blocks)


LAYER = "encoder.albert_layer_groups.{}.albert_layers.0."
BODY = (
    *EMBED,
    *table("embed.", "encoder.", "project=embedding_hidden_mapping_in"),
    *table("layers.{}.attention.", LAYER + "attention.", "q=query k=key v=value o=dense distance=distance_embedding"),
    *table("layers.{}.", LAYER, "attention_norm=attention.LayerNorm ffn.up=ffn ffn.down=ffn_output"),
    *table("layers.{}.", LAYER, "ffn_norm=full_layer_layer_norm"),
)

ALBERT = bert_encoder(
    AlbertConfig, "AlbertModel", "albert.", read, BODY, (r"^predictions\.", r"^sop_classifier\.", TASKS)
)
FAMILIES = (ALBERT,)
