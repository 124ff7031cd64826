"""wav2vec 2.0 (https://arxiv.org/abs/2006.11477) and HuBERT (https://arxiv.org/abs/2106.07447): encoders of sound waves."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.errors import ConfigError
from conjoin.senses import Adapter, Waves
from conjoin.spec import Family, Role, StackSpec, row, stack, table

__all__ = ["FAMILIES", "HUBERT", "WAV2VEC2", "HubertConfig", "Wav2Vec2Config"]

MOST = 16  # convolutions, or layers of an adapter


@config_class
@dataclass(kw_only=True)
class HubertConfig(ModelConfig):
    """Sizes and settings of a HuBERT, with transformers' names and defaults.

    Masks of time and features, and dropped layers, are of training and are left out of a join; what says how much of them
    there is stays, for who trains elsewhere.
    """

    model_type: ClassVar[str] = "hubert"
    irrelevant: ClassVar[frozenset[str]] = frozenset(
        "classifier_proj_size ctc_loss_reduction ctc_zero_infinity feat_extract_dropout final_dropout "
        "freeze_feat_extract_train hidden_dropout_prob mask_channel_length mask_channel_min_space mask_channel_other "
        "mask_channel_prob mask_channel_selection mask_time_min_space mask_time_other mask_time_selection "
        "no_mask_channel_overlap no_mask_time_overlap num_feat_extract_layers use_weighted_layer_sum vocab_size".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"conv_pos_batch_norm": (False,)}

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_layer_norm: bool = True
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    feat_extract_activation: str = "gelu"
    conv_dim: list[int] = field(default_factory=lambda: [512] * 7)
    conv_stride: list[int] = field(default_factory=lambda: [5, 2, 2, 2, 2, 2, 2])
    conv_kernel: list[int] = field(default_factory=lambda: [10, 3, 3, 3, 3, 2, 2])
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int | None = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int | None = 0
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2


@config_class
@dataclass(kw_only=True)
class Wav2Vec2Config(HubertConfig):
    """Sizes and settings of a wav2vec 2.0, with transformers' names and defaults: HuBERT's, and an adapter's."""

    model_type: ClassVar[str] = "wav2vec2"
    irrelevant: ClassVar[frozenset[str]] = HubertConfig.irrelevant | frozenset(
        "codevector_dim contrastive_logits_temperature diversity_loss_weight feat_quantizer_dropout "
        "num_codevector_groups num_codevectors_per_group num_negatives proj_codevector_dim tdnn_dilation tdnn_dim "
        "tdnn_kernel xvector_output_dim".split()
    )
    only: ClassVar[dict[str, tuple[object, ...]]] = {"adapter_attn_dim": (None,), "conv_pos_batch_norm": (False,)}

    add_adapter: bool = False
    adapter_kernel_size: int = 3
    adapter_stride: int = 2
    num_adapter_layers: int = 3
    output_hidden_size: int | None = None


def convolutions(config: HubertConfig) -> tuple[tuple[int, ...], ...]:
    """Widths, kernels and strides. Raises ConfigError where there are not as many of each."""
    found = tuple(tuple(getattr(config, f"conv_{name}")) for name in ("dim", "kernel", "stride"))
    lengths = {len(one) for one in found}
    if len(lengths) > 1 or not 1 <= len(found[0]) <= MOST or any(type(n) is not int or n < 1 for n in sum(found, ())):
        raise ConfigError(
            f'{config.model_type}: "conv_dim", "conv_kernel" and "conv_stride" are {", ".join(str(list(f)) for f in found)}'
            f"; as many whole numbers above 0 in each were expected, at most {MOST}."
        )
    return found


def adapter(config: HubertConfig) -> Adapter | None:
    """What shortens the states, where there is such. Raises ConfigError for a width without it, or too many layers."""
    if not isinstance(config, Wav2Vec2Config):
        return None
    width = config.output_hidden_size or config.hidden_size
    if not config.add_adapter and width != config.hidden_size:
        raise ConfigError(
            f'{config.model_type}: "output_hidden_size" is {width} and "hidden_size" {config.hidden_size}; without an '
            f"adapter they must be equal."
        )
    if config.num_adapter_layers > MOST:
        raise ConfigError(f'{config.model_type}: "num_adapter_layers" is {config.num_adapter_layers}; at most {MOST}.')
    if not config.add_adapter:
        return None
    return Adapter(
        width=width,
        layers=config.num_adapter_layers,
        kernel=config.adapter_kernel_size,
        stride=config.adapter_stride,
    )


def read(config: HubertConfig) -> StackSpec:
    """The facts of either."""
    if config.feat_extract_norm not in ("group", "layer"):
        raise ConfigError(
            f'{config.model_type}: "feat_extract_norm" is {config.feat_extract_norm!r}; "group" or "layer" was expected.'
        )
    widths, kernels, strides = convolutions(config)
    front = Waves(
        widths=widths,
        kernels=kernels,
        strides=strides,
        bias=config.conv_bias,
        norm=config.feat_extract_norm,  # type: ignore[arg-type]
        activation=config.feat_extract_activation,
        feature_norm=config.feat_proj_layer_norm,
        dropout=config.feat_proj_dropout,
        position_kernel=config.num_conv_pos_embeddings,
        position_groups=config.num_conv_pos_embedding_groups,
        stand_in=config.mask_time_prob > 0 or config.mask_feature_prob > 0,
        adapter=adapter(config),
    )
    stable = config.do_stable_layer_norm
    return stack(
        config,
        vocab=0,
        front=front,
        embed_width=widths[-1],
        embed_norm=not stable,
        norms="pre" if stable else "post",
        final_norm=stable,
        activation=config.hidden_act,
        norm_eps=config.layer_norm_eps,
        dropout=config.hidden_dropout,
        embed_dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
    )


CONV = "encoder.pos_conv_embed.conv."
NORM = "parametrizations.weight.original"
BODY = (
    *(
        one
        for i in range(MOST)
        for one in (
            *table("embed.", f"feature_extractor.conv_layers.{i}.", f"convs.{i}=conv conv_norms.{i}=layer_norm"),
            *table("adapter.convs.", "adapter.layers.", f"{i}={i}.conv"),
        )
    ),
    *table("embed.", "feature_projection.", "feature_norm=layer_norm project=projection"),
    row("embed.near.gain", f"{CONV}{NORM}0"),
    row("embed.near.weight", f"{CONV}{NORM}1"),
    row("embed.near.bias", f"{CONV}bias"),
    row("embed.stand_in", "masked_spec_embed", optional=True),
    *table("", "encoder.", "embed.norm=layer_norm norm=layer_norm"),
    *table("adapter.", "adapter.", "project=proj norm=proj_layer_norm"),
    *table(
        "layers.{}.",
        "encoder.layers.{}.",
        "attention.q=attention.q_proj attention.k=attention.k_proj attention.v=attention.v_proj "
        "attention.o=attention.out_proj attention_norm=layer_norm ffn_norm=final_layer_norm "
        "ffn.up=feed_forward.intermediate_dense ffn.down=feed_forward.output_dense",
    ),
)
OLD_NAMES = {
    r"pos_conv_embed\.conv\.weight_g$": f"pos_conv_embed.conv.{NORM}0",
    r"pos_conv_embed\.conv\.weight_v$": f"pos_conv_embed.conv.{NORM}1",
}
OTHERS = (r"^masked_spec_embed$", r"^(quantizer|project_hid|project_q|lm_head|projector|classifier)\.")


def sound_family(config: type[Any], name: str) -> Family:
    """A family of this kind, transformers' classes of which begin with `name`."""
    role = Role(f"{name}Model", read, BODY, ("", f"{config.model_type}."), OTHERS)
    return Family(config=config, old_names=OLD_NAMES, encoder=role)


WAV2VEC2 = sound_family(Wav2Vec2Config, "Wav2Vec2")
HUBERT = sound_family(HubertConfig, "Hubert")
FAMILIES = (WAV2VEC2, HUBERT)
