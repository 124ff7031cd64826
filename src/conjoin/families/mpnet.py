"""MPNet (https://arxiv.org/abs/2004.09297): an encoder, RoBERTa with a bias by distance that all layers share."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert, roberta
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_positions import ABSOLUTE
from conjoin.families.shared.bert_rows import LAYER
from conjoin.spec import Relative, StackSpec, row, table

__all__ = ["FAMILIES", "MPNET", "MPNetConfig"]
PAD = 1  # whatever the config says


@config_class
@dataclass(kw_only=True)
class MPNetConfig(bert.BertConfig):
    """Sizes and settings of an MPNet, with transformers' names and defaults."""

    model_type: ClassVar[str] = "mpnet"
    place_kinds: ClassVar[tuple[str, ...]] = ABSOLUTE
    # transformers sorts distances into 32 buckets whatever the size of the table.
    only: ClassVar[dict[str, tuple[object, ...]]] = {"relative_attention_num_buckets": (32,)}

    vocab_size: int = 30527
    type_vocab_size: int = 0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def read(config: MPNetConfig) -> StackSpec:
    """BERT's facts without token types, with positions that skip padding, and a bias by distance."""
    return replace(
        bert.read(config), types=0, position_offset=PAD + 1, position_pad=PAD, relative=Relative(32, farthest=128)
    )


BODY = (
    *table("embed.", "embeddings.", "token=word_embeddings position=position_embeddings norm=LayerNorm"),
    row("relative.0.weight", "encoder.relative_attention_bias.weight"),
    *table(
        "layers.{}.",
        LAYER,
        "attention.q=attention.attn.q attention.k=attention.attn.k attention.v=attention.attn.v "
        "attention.o=attention.attn.o attention_norm=attention.LayerNorm "
        "ffn.up=intermediate.dense ffn.down=output.dense ffn_norm=output.LayerNorm",
    ),
)

MPNET = bert_encoder(MPNetConfig, "MPNetModel", "mpnet.", read, BODY, roberta.OTHERS)
FAMILIES = (MPNET,)
