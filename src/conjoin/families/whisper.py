"""Whisper (https://arxiv.org/abs/2212.04356): its encoder, which reads half a minute of sound as a mel spectrum."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.families.shared.bart_fields import BartFieldsConfig, sided_stack
from conjoin.families.shared.bart_rows import LAYERS
from conjoin.senses import Frames
from conjoin.spec import BIASES, Family, Role, RoleName, StackSpec, table

__all__ = ["FAMILIES", "WHISPER", "WhisperConfig"]


@config_class
@dataclass(kw_only=True)
class WhisperConfig(BartFieldsConfig):
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
    d_model: int = 384
    dropout: float = 0.0
    activation_dropout: float = 0.0
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
    return sided_stack(
        config,
        "encoder",
        vocab=0,
        front=Frames(mels=config.num_mel_bins, length=2 * config.max_source_positions),
        positions=config.max_source_positions,
        norms="pre",
        final_norm=True,
        biases=BIASES - {"k"},
    )


BODY = (
    *table("", "", "embed.convs.0=conv1 embed.convs.1=conv2 embed.position=embed_positions norm=layer_norm"),
    *LAYERS,
)
OTHERS = (r"^(model\.)?decoder\.", r"^proj_out\.", r"^(layer_weights|projector|classifier)\b")
ENCODER = Role("WhisperEncoder", read, BODY, ("", "model.encoder.", "encoder."), OTHERS)

WHISPER = Family(config=WhisperConfig, encoder=ENCODER)
FAMILIES = (WHISPER,)
