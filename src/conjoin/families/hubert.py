"""HuBERT (https://arxiv.org/abs/2106.07447): an encoder of sound waves."""

from dataclasses import dataclass, field
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.families.shared.wave_rows import sound_family
from conjoin.families.shared.wave_stack import wave_stack

__all__ = ["FAMILIES", "HUBERT", "HubertConfig"]


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


HUBERT = sound_family(HubertConfig, "Hubert", wave_stack)
FAMILIES = (HUBERT,)
