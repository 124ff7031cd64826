"""What encoders of sound waves have in common: their facts."""

from typing import Any

from conjoin.errors import ConfigError
from conjoin.senses import Adapter, Waves
from conjoin.spec import StackSpec, stack

__all__ = ["MOST", "wave_stack"]

MOST = 16  # convolutions, or layers of an adapter


def convolutions(config: Any) -> tuple[tuple[int, ...], ...]:
    """Widths, kernels and strides. Raises ConfigError where there are not as many of each."""
    found = tuple(tuple(getattr(config, f"conv_{name}")) for name in ("dim", "kernel", "stride"))
    lengths = {len(one) for one in found}
    if len(lengths) > 1 or not 1 <= len(found[0]) <= MOST or any(type(n) is not int or n < 1 for n in sum(found, ())):
        raise ConfigError(
            f'{config.model_type}: "conv_dim", "conv_kernel" and "conv_stride" are {", ".join(str(list(f)) for f in found)}'
            f"; as many whole numbers above 0 in each were expected, at most {MOST}."
        )
    return found


def wave_stack(config: Any, adapter: Adapter | None = None) -> StackSpec:
    """The facts in common; `adapter` is what shortens the states at the end."""
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
        adapter=adapter,
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
