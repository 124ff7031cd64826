"""An encoder that is a module of the user's own (PyTorch): no architecture, of which only the width is known."""

from dataclasses import dataclass
from typing import ClassVar

from conjoin.config import ModelConfig, config_class
from conjoin.errors import ConfigError
from conjoin.spec import Family, Role, StackSpec

__all__ = ["CUSTOM", "CustomConfig", "is_custom", "require_module"]

UNKNOWN = 10**9  # of tokens and of positions: what the module cannot read, it says itself


@config_class
@dataclass(kw_only=True)
class CustomConfig(ModelConfig):
    """What is known of the module: the width of its hidden states, and the name of its class."""

    model_type: ClassVar[str] = "custom"
    vocab_size: ClassVar[int] = UNKNOWN

    hidden_size: int
    class_name: str = ""


def read(config: CustomConfig) -> StackSpec:
    """A stack without layers, since none of them is ours."""
    return StackSpec(
        vocab=UNKNOWN,
        width=config.hidden_size,
        layers=0,
        heads=1,
        ffn=0,
        positions=UNKNOWN,
        activation="",
        norm_eps=0.0,
    )


CUSTOM = Family(config=CustomConfig, encoder=Role(architecture="CustomEncoder", read=read, rows=(), prefixes=("",)))


def is_custom(config: ModelConfig) -> bool:
    """Whether a part is a module of the user's own."""
    return isinstance(config, CustomConfig)


def require_module(config: ModelConfig) -> None:
    """Raises ConfigError where a part cannot be made from its config alone."""
    if isinstance(config, CustomConfig):
        raise ConfigError(
            f"the encoder of this model is a module of your own ({config.class_name}, width {config.hidden_size}), and only "
            f"its values are saved; pass one: EncoderDecoderModel.from_pretrained(folder, encoder=module), in PyTorch."
        )
