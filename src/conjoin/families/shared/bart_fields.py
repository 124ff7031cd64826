"""What was made after BART has in common: fields of the config, with BART's defaults, and the facts of a side."""

from dataclasses import dataclass
from typing import Any

from conjoin.config import ModelConfig
from conjoin.spec import RoleName, StackSpec, stack

__all__ = ["BartFieldsConfig", "dropouts", "sided_stack"]


@dataclass(kw_only=True)
class BartFieldsConfig(ModelConfig):
    """What the configs of BART, its relatives, and decoders and encoders made after it have in common."""

    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    init_std: float = 0.02
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


def dropouts(config: Any) -> dict[str, float]:
    """The shares that are left out in training, and where."""
    return {
        "dropout": config.dropout,
        "embed_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
    }


def sided_stack(config: Any, role: RoleName, **facts: Any) -> StackSpec:
    """The facts of one side, with further ones."""
    own = {
        "layers": getattr(config, f"{role}_layers"),
        "heads": getattr(config, f"{role}_attention_heads"),
        "ffn": getattr(config, f"{role}_ffn_dim"),
        "activation": config.activation_function,
        "norm_eps": 1e-5,
        "initializer_range": config.init_std,
    }
    return stack(config, **{**own, **dropouts(config), **facts})
