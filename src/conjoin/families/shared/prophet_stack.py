"""The facts of a ProphetNet's side."""

from typing import Any

from conjoin.errors import ConfigError
from conjoin.families.shared.bart_fields import dropouts
from conjoin.spec import NGram, Relative, RoleName, StackSpec, stack

__all__ = ["read"]


def read(config: Any, role: RoleName) -> StackSpec:
    """The facts of a side. Raises ConfigError for pad tokens, from which positions count, that it cannot have."""
    if config.pad_token_id is None or (role == "decoder" and config.pad_token_id != 0):  # nor does transformers' cache
        raise ConfigError(
            f'prophetnet: "pad_token_id" is {config.pad_token_id!r}; positions count from it, and for a decoder only 0 is '
            f"implemented, for an encoder any number."
        )
    distances = Relative(config.num_buckets, config.relative_max_distance)
    return stack(
        config,
        layers=getattr(config, f"num_{role}_layers"),
        heads=getattr(config, f"num_{role}_attention_heads"),
        ffn=getattr(config, f"{role}_ffn_dim"),
        positions=config.max_position_embeddings,
        position_offset=config.pad_token_id + 1,
        attention=NGram(config.ngram, distances) if role == "decoder" else None,
        embed_norm=True,
        activation=config.activation_function,
        norm_eps=1e-5,
        initializer_range=config.init_std,
        head="plain" if role == "decoder" else "none",
        **dropouts(config),
    )
