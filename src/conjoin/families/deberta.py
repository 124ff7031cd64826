"""DeBERTa (https://arxiv.org/abs/2006.03654): its attention's projections joined head by head, a row for each distance."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert, deberta_v2
from conjoin.spec import BIASES, Family, Role, StackSpec, row, table

__all__ = ["DEBERTA", "FAMILIES", "DebertaConfig"]


@config_class
@dataclass(kw_only=True)
class DebertaConfig(bert.BertConfig):
    """Sizes and settings of a DeBERTa, with transformers' names and defaults."""

    model_type: ClassVar[str] = "deberta"
    irrelevant: ClassVar[frozenset[str]] = deberta_v2.DebertaV2Config.irrelevant
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
    """The facts of an encoder: those of DeBERTa-v2, with other biases."""
    attention = deberta_v2.disentangled(config, -1)
    return deberta_v2.read(config, attention=attention, biases=BIASES - {"embed", "k", "c2p"})


SELF = bert.LAYER + "attention.self."
BODY = (
    *deberta_v2.EMBEDDINGS,
    *deberta_v2.LAYER,
    row(
        "layers.{}.attention.q.weight layers.{}.attention.k.weight layers.{}.attention.v.weight",
        SELF + "in_proj.weight",
        by_head=True,
    ),
    *table("layers.{}.attention.", SELF, "q.bias:=q_bias v.bias:=v_bias c2p=pos_proj p2c=pos_q_proj"),
    row("shared.table.weight", "encoder.rel_embeddings.weight"),
)

DEBERTA = Family(
    config=DebertaConfig,
    old_names=bert.OLD_NAMES,
    encoder=Role("DebertaModel", read, BODY, ("", "deberta."), deberta_v2.OTHERS),
)
FAMILIES = (DEBERTA,)
