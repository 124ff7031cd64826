"""Whisper (https://arxiv.org/abs/2212.04356): its encoder, which reads half a minute of sound as a mel spectrum."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.senses import Frames
from conjoin.spec import BIASES, Family, Role, RoleName, StackSpec, stack, table

__all__ = ["FAMILIES", "WHISPER", "WhisperConfig"]


@config_class
@dataclass(kw_only=True)
class WhisperConfig(ModelConfig):
    """Sizes and settings of a Whisper's encoder, with transformers' names and defaults."""

    model_type: ClassVar[str] = "whisper"
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "d_model"}
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "apply_spec_augment classifier_proj_size decoder_attention_heads decoder_ffn_dim decoder_layerdrop decoder_layers "
        "encoder_layerdrop forced_decoder_ids mask_feature_length mask_feature_min_masks mask_feature_prob "
        "mask_time_length mask_time_min_masks mask_time_prob max_target_positions median_filter_width num_hidden_layers "
        "scale_embedding use_weighted_layer_sum vocab_size".split()
    )

    num_mel_bins: int = 80
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    encoder_ffn_dim: int = 1536
    activation_function: str = "gelu"
    d_model: int = 384
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    max_source_positions: int = 1500
    pad_token_id: int | None = 50256
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    decoder_start_token_id: int | None = 50257

    def by_role(self, role: RoleName, name: str) -> str:
        """`num_hidden_layers` and `num_attention_heads` mean those of the encoder."""
        sided = {"num_hidden_layers": "encoder_layers", "num_attention_heads": "encoder_attention_heads"}
        return sided.get(name, name)


def read(config: WhisperConfig) -> StackSpec:
    """The facts of the encoder."""
    return stack(
        config,
        vocab=0,
        layers=config.encoder_layers,
        heads=config.encoder_attention_heads,
        ffn=config.encoder_ffn_dim,
        front=Frames(mels=config.num_mel_bins, length=2 * config.max_source_positions),
        positions=config.max_source_positions,
        activation=config.activation_function,
        norm_eps=1e-5,
        norms="pre",
        final_norm=True,
        biases=BIASES - {"k"},
        dropout=config.dropout,
        embed_dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        initializer_range=config.init_std,
    )


BODY = (
    *table("", "", "embed.convs.0=conv1 embed.convs.1=conv2 embed.position=embed_positions norm=layer_norm"),
    *table(
        "layers.{}.",
        "layers.{}.",
        "attention.q=self_attn.q_proj attention.k=self_attn.k_proj attention.v=self_attn.v_proj "
        "attention.o=self_attn.out_proj attention_norm=self_attn_layer_norm "
        "ffn.up=fc1 ffn.down=fc2 ffn_norm=final_layer_norm",
    ),
)
OTHERS = (r"^(model\.)?decoder\.", r"^proj_out\.", r"^(layer_weights|projector|classifier)\b")

WHISPER = Family(
    config=WhisperConfig,
    encoder=Role("WhisperEncoder", read, BODY, ("", "model.encoder.", "encoder."), OTHERS),
)
FAMILIES = (WHISPER,)
