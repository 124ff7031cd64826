"""RoBERTa (https://arxiv.org/abs/1907.11692): BERT with positions counted from pad + 1, and a head of its own name."""

from dataclasses import dataclass, replace
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import bert
from conjoin.families.shared.bert_rows import BODY, BUFFERS, CROSS, OLD_NAMES, TASKS
from conjoin.spec import Family, Role, StackSpec, row, table

__all__ = ["FAMILIES", "ROBERTA", "RobertaConfig"]


@config_class
@dataclass(kw_only=True)
class RobertaConfig(bert.BertConfig):
    """Sizes and settings of a RoBERTa, with transformers' names and defaults: BERT's, but for tokens."""

    model_type: ClassVar[str] = "roberta"

    vocab_size: int = 50265
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def read(config: RobertaConfig) -> StackSpec:
    """BERT's facts, with positions that skip padding, and a head that knows one activation."""
    pad = 1 if config.pad_token_id is None else config.pad_token_id
    return replace(bert.read(config), position_offset=pad + 1, position_pad=pad, head_activation="gelu")


HEAD = (
    *table("head.", "lm_head.", "dense=dense norm=layer_norm", rooted=True),
    # Where the head is untied, transformers 5 adds `decoder.bias` and leaves `bias` unused.
    row("head.bias", "lm_head.bias", rooted=True, untied="lm_head.decoder.bias"),
    row("output.weight", "lm_head.decoder.weight", rooted=True),
)
OTHERS = (r"^lm_head\.", r"\.crossattention\.", TASKS)  # of an encoder

ROBERTA = Family(
    config=RobertaConfig,
    old_names=OLD_NAMES,
    encoder=Role("RobertaModel", read, BODY, ("", "roberta."), (*BUFFERS, *OTHERS)),
    decoder=Role(
        "RobertaForCausalLM",
        read,
        (*BODY, *CROSS, *HEAD),
        ("roberta.", ""),
        (*BUFFERS, r"^lm_head\.decoder\.", TASKS),
    ),
)
FAMILIES = (ROBERTA,)
