"""LED (https://arxiv.org/abs/2004.05150): the encoder of a BART whose attention is Longformer's."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families import bart, longformer
from conjoin.spec import Family, Role, RoleName, StackSpec, row, stack, table

__all__ = ["FAMILIES", "LED", "LEDConfig"]


@config_class
@dataclass(kw_only=True)
class LEDConfig(ModelConfig):
    """Sizes and settings of an LED, with transformers' names and defaults."""

    model_type: ClassVar[str] = "led"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "max_position_embeddings": "max_encoder_position_embeddings",
    }
    irrelevant: ClassVar[frozenset[str]] = bart.BartConfig.irrelevant | {"attention_dilation"}
    only: ClassVar[dict[str, tuple[object, ...]]] = {**bart.BartConfig.only, "scale_embedding": (False,)}

    vocab_size: int = 50265
    max_encoder_position_embeddings: int = 16384
    max_decoder_position_embeddings: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    activation_function: str = "gelu"
    d_model: int = 1024
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    attention_window: int | list[int] = 512
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    is_encoder_decoder: bool = True
    decoder_start_token_id: int | None = 2

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` and `num_attention_heads` mean those of the side that is used."""
        sided = {"num_hidden_layers": "layers", "num_attention_heads": "attention_heads"}
        return f"{role}_{sided[name]}" if name in sided else name


def read(config: LEDConfig) -> StackSpec:
    """The facts of the encoder."""
    return stack(
        config,
        layers=config.encoder_layers,
        heads=config.encoder_attention_heads,
        ffn=config.encoder_ffn_dim,
        positions=config.max_encoder_position_embeddings,
        attention=longformer.sliding(config, config.encoder_layers),
        activation=config.activation_function,
        norm_eps=1e-5,
        embed_norm=True,
        dropout=config.dropout,
        embed_dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        initializer_range=config.init_std,
    )


ATTENTION = "layers.{}.attention."
BODY = (
    row("embed.token.weight", "embed_tokens.weight", also=("led.shared.weight", "shared.weight")),
    *(one for one in bart.BODY[1:] if not one.ours[0].startswith(ATTENTION)),
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
