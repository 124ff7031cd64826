"""DeBERTa (https://arxiv.org/abs/2006.03654): its attention's projections joined head by head, a row for each distance."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_rows import LAYER
from conjoin.families.shared.deberta_rows import EMBEDDINGS, LAYERS, OTHERS
from conjoin.families.shared.disentangled import disentangled, disentangled_stack
from conjoin.spec import BIASES, StackSpec, row, table

__all__ = ["DEBERTA", "FAMILIES", "DebertaConfig"]


@config_class
@dataclass(kw_only=True)
class DebertaConfig(bert.BertConfig):
    """Sizes and settings of a DeBERTa, with transformers' names and defaults."""

    model_type: ClassVar[str] = "deberta"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "pooler_hidden_size pooler_dropout pooler_hidden_act legacy model_name padding_idx cls_dropout "
        "summary_type summary_activation summary_last_dropout".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"talking_head": (False,)}
    unless_none: ClassVar[tuple[str, ...]] = ("embedding_size",)

    vocab_size: int = 50265
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-7
    relative_attention: bool = False
    max_relative_positions: int | None = -1
    pos_att_type: str | list[str] | None = None  # "c2p" and "p2c", parted by "|" where they are one text
    position_biased_input: bool = True
    embedding_size: int | None = None


def read(config: DebertaConfig) -> StackSpec:
    """The facts of an encoder."""
    return disentangled_stack(config, attention=disentangled(config, -1), biases=BIASES - {"embed", "k", "c2p"})


SELF = LAYER + "attention.self."
BODY = (
    *EMBEDDINGS,
    *LAYERS,
    row(
        "layers.{}.attention.q.weight layers.{}.attention.k.weight layers.{}.attention.v.weight",
        SELF + "in_proj.weight",
        by_head=True,
    ),
    *table("layers.{}.attention.", SELF, "q.bias:=q_bias v.bias:=v_bias c2p=pos_proj p2c=pos_q_proj"),
    row("shared.table.weight", "encoder.rel_embeddings.weight"),
)

DEBERTA = bert_encoder(DebertaConfig, "DebertaModel", "deberta.", read, BODY, OTHERS)
FAMILIES = (DEBERTA,)
