"""Longformer (https://arxiv.org/abs/2004.05150): RoBERTa with attention to near tokens, and to and from global ones."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families import bert, roberta
from conjoin.families.shared import bert_rows
from conjoin.families.shared.bert_like import bert_encoder
from conjoin.families.shared.bert_positions import ABSOLUTE
from conjoin.spec import Sliding, StackSpec, table

__all__ = ["FAMILIES", "LONGFORMER", "LongformerConfig"]


@config_class
@dataclass(kw_only=True)
class LongformerConfig(bert.BertConfig):
    """Sizes and settings of a Longformer, with transformers' names and defaults."""

    model_type: ClassVar[str] = "longformer"
    place_kinds: ClassVar[tuple[str, ...]] = ABSOLUTE
    irrelevant: ClassVar[frozenset[str]] = bert.BertConfig.irrelevant | {"attention_dilation", "onnx_export"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {
        "attention_mode": ("longformer", "sliding_chunks"),
        "autoregressive": (False,),
        "ignore_attention_mask": (False,),
    }

    attention_window: int | list[int] = 512
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def sliding(config: Any, layers: int) -> Sliding:
    """How far each layer sees: half its window to either side. Raises ConfigError for a window that is not even."""
    given = config.attention_window
    windows = (given,) * layers if isinstance(given, int) else tuple(given)
    if len(windows) != layers or any(type(w) is not int or w < 2 or w % 2 for w in windows):
        raise ConfigError(
            f'{config.model_type}: "attention_window" is {given!r}; an even number above 0 was expected, or one for each '
            f"of the {layers} layers."
        )
    return Sliding(tuple(w // 2 for w in windows))


def read(config: LongformerConfig) -> StackSpec:
    """The facts of an encoder: RoBERTa's, with another attention."""
    pad = 1 if config.pad_token_id is None else config.pad_token_id
    spec = replace(bert.read(config), position_offset=pad + 1, position_pad=pad)
    return replace(spec, attention=sliding(config, config.num_hidden_layers))


GLOBAL = "global_q=query_global global_k=key_global global_v=value_global"
BODY = (*bert_rows.BODY, *table("layers.{}.attention.", bert_rows.LAYER + "attention.self.", GLOBAL))

LONGFORMER = bert_encoder(LongformerConfig, "LongformerModel", "longformer.", read, BODY, roberta.OTHERS)
FAMILIES = (LONGFORMER,)
