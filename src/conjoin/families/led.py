"""LED (https://arxiv.org/abs/2004.05150): the encoder of a BART whose attention is Longformer's."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families import longformer
from conjoin.families.shared import bart_rows
from conjoin.families.shared.bart_fields import sided_stack
from conjoin.families.shared.sided import SidedConfig
from conjoin.spec import Family, Role, StackSpec, row, table

__all__ = ["FAMILIES", "LED", "LEDConfig"]


@config_class
@dataclass(kw_only=True)
class LEDConfig(SidedConfig):
    """Sizes and settings of an LED, with transformers' names and defaults."""

    model_type: ClassVar[str] = "led"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "max_position_embeddings": "max_encoder_position_embeddings",
    }
    irrelevant: ClassVar[frozenset[str]] = SidedConfig.irrelevant | {"attention_dilation"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {**SidedConfig.only, "scale_embedding": (False,)}

    max_encoder_position_embeddings: int = 16384
    max_decoder_position_embeddings: int = 1024
    attention_window: int | list[int] = 512


def read(config: LEDConfig) -> StackSpec:
    """The facts of the encoder."""
    return sided_stack(
        config,
        "encoder",
        positions=config.max_encoder_position_embeddings,
        attention=longformer.sliding(config, config.encoder_layers),
        embed_norm=True,
    )


ATTENTION = "layers.{}.attention."
BODY = (
    row("embed.token.weight", "embed_tokens.weight", also=("led.shared.weight", "shared.weight")),
    *(one for one in bart_rows.BODY[1:] if not one.ours[0].startswith(ATTENTION)),
    *table(ATTENTION, "layers.{}.self_attn.longformer_self_attn.", "q=query k=key v=value " + longformer.GLOBAL),
    *table(ATTENTION, "layers.{}.self_attn.", "o=output"),
)
OTHERS = (
    r"^(led\.)?(shared|decoder)\.",
    r"^(lm_head|classification_head|qa_outputs)\.",
    r"^final_logits_bias$",
)

LED = Family(config=LEDConfig, encoder=Role("LEDEncoder", read, BODY, ("", "led.encoder.", "encoder."), OTHERS))
FAMILIES = (LED,)
