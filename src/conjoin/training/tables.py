"""The tables of a recipe: what is set for one group of parameters, and how a model is joined."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from conjoin.errors import ConfigError
from conjoin.training.checks import check_choice, check_flag, check_number

__all__ = ["GROUPS", "Group", "GroupName", "Join", "Lora"]

GroupName = Literal["encoder", "decoder", "new"]
GROUPS: tuple[GroupName, ...] = get_args(GroupName)
SHARES = ("none", "embeddings", "all")
BIRTHS = ("random", "self_attention", "zero_gate")


@dataclass(frozen=True, kw_only=True)
class Group:
    """What holds for the encoder's pretrained parameters, the decoder's, or what the join made new.

    None is the recipe's own value. Raises ConfigError for a value that cannot be.
    """

    learning_rate: float | None = None
    warmup_ratio: float | None = None
    warmup_steps: int | None = None  # in place of warmup_ratio
    weight_decay: float | None = None
    freeze: bool = False  # never trained

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, float, 0.0, 10.0, True)
        check_number("warmup_ratio", self.warmup_ratio, float, 0.0, 1.0, True)
        check_number("warmup_steps", self.warmup_steps, int, 0, 1e9, True)
        check_number("weight_decay", self.weight_decay, float, 0.0, 1.0, True)
        check_flag("freeze", self.freeze)


@dataclass(frozen=True, kw_only=True)
class Join:
    """How `conjoin train` joins two parts, where the command does not say. Raises ConfigError for what cannot be."""

    share: Any = "none"
    cross_attention_init: Any = "self_attention"

    def __post_init__(self) -> None:
        check_choice("share", self.share, SHARES)
        check_choice("cross_attention_init", self.cross_attention_init, BIRTHS)


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters in place of pretrained weights (https://arxiv.org/abs/2106.09685); none where the rank is 0.

    `targets` are the layers that get one, by the last part of their names. What the join made new is trained as it is.
    Raises ConfigError for a value that cannot be.
    """

    rank: int = 0
    alpha: float = 32.0  # what an adapter says is multiplied by alpha / rank
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q", "k", "v", "o")

    def __post_init__(self) -> None:
        check_number("rank", self.rank, int, 0, 1e5, False)
        check_number("alpha", self.alpha, float, 1e-9, 1e9, False)
        check_number("dropout", self.dropout, float, 0.0, 0.999999, False)
        if isinstance(self.targets, list):
            object.__setattr__(self, "targets", tuple(self.targets))
        if not isinstance(self.targets, tuple) or not all(isinstance(name, str) for name in self.targets):
            raise ConfigError(f'targets is {self.targets!r}; names of layers were expected, such as ("q", "v").')
