"""RoFormer (https://arxiv.org/abs/2104.09864): BERT with rotary positions, of neighbouring numbers, in place of a table."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.electra import PROJECT
from conjoin.families.shared.bert_like import bert_family
from conjoin.families.shared.bert_positions import ABSOLUTE
from conjoin.families.shared.bert_rows import BODY
from conjoin.spec import Rotary, StackSpec

__all__ = ["FAMILIES", "ROFORMER", "RoFormerConfig"]


@config_class
@dataclass(kw_only=True)
class RoFormerConfig(bert.BertConfig):
    """Sizes and settings of a RoFormer, with transformers' names and defaults."""

    model_type: ClassVar[str] = "roformer"
    place_kinds: ClassVar[tuple[str, ...]] = ABSOLUTE

    vocab_size: int = 50000
    embedding_size: int | None = None
    max_position_embeddings: int = 1536
    rotary_value: bool = False


def read(config: RoFormerConfig) -> StackSpec:
    """BERT's facts without a position table; embeddings of a width of their own, where they have one, are projected."""
    size = config.hidden_size // config.num_attention_heads
    turning = Rotary(tuple(10000.0 ** (-2 * i / size) for i in range(size // 2)), interleaved=True)
    width = config.embedding_size if config.embedding_size not in (None, config.hidden_size) else 0
    return replace(
        bert.read(config),
        positions=0,
        limit=config.max_position_embeddings,
        rotary=(turning,) * config.num_hidden_layers,
        rotary_values=config.rotary_value,
        embed_width=width or 0,
        head_width=width or 0,
    )


ROFORMER = bert_family(
    RoFormerConfig,
    "RoFormerModel",
    "RoFormerForCausalLM",
    "roformer.",
    read,
    body=(*BODY, *PROJECT),
    irrelevant=(r"encoder\.embed_positions\.weight$", r"^sequence_summary\."),  # sines and cosines, computed anew
)
FAMILIES = (ROFORMER,)
