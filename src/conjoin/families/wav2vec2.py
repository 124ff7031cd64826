"""wav2vec 2.0 (https://arxiv.org/abs/2006.11477): an encoder of sound waves; HuBERT's, perhaps with an adapter behind it."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import config_class
from conjoin.errors import ConfigError
from conjoin.families.hubert import HubertConfig
from conjoin.families.shared.wave_rows import sound_family
from conjoin.families.shared.wave_stack import MOST, wave_stack
from conjoin.senses import Adapter
from conjoin.spec import StackSpec

__all__ = ["FAMILIES", "WAV2VEC2", "Wav2Vec2Config"]


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


def adapter(config: Wav2Vec2Config) -> Adapter | None:
    """What shortens the states, where there is such. Raises ConfigError for a width without it, or too many layers."""
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


def read(config: Wav2Vec2Config) -> StackSpec:
    """The facts of an encoder, with an adapter where there is one."""
    return wave_stack(config, adapter(config))


WAV2VEC2 = sound_family(Wav2Vec2Config, "Wav2Vec2", read)
FAMILIES = (WAV2VEC2,)
