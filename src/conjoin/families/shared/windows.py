"""Layers that attend to all tokens and layers that attend to a window: their types, what each sees, how fast each turns."""

from collections.abc import Sequence
from typing import Any

from conjoin.errors import ConfigError
from conjoin.families.shared.rope import RopeConfig, rotary
from conjoin.spec import Rotary

__all__ = ["FULL", "SLIDING", "layer_types", "reach", "turns"]

FULL, SLIDING = "full_attention", "sliding_attention"


def reach(window: int | None) -> int | None:
    """How many tokens away one is still seen in a window of so many tokens, its own included; None for no window."""
    if window is not None and (type(window) is not int or window < 1):
        raise ConfigError(f"the attention window is {window!r}; a whole number above 0, or null, was expected.")
    return None if window is None else window - 1


def layer_types(config: Any, usual: Sequence[str]) -> list[str]:
    """The type of each layer: those that the config lists, or else the usual ones.

    Raises ConfigError for a type that is not implemented, or where there are too few.
    """
    count = config.num_hidden_layers
    found = list(usual if config.layer_types is None else config.layer_types[:count])
    if len(found) < count or not {FULL, SLIDING}.issuperset(found):
        raise ConfigError(
            f'{config.model_type}: "layer_types" is {found!r}; "{FULL}" or "{SLIDING}" was expected for each of '
            f"{count} layers."
        )
    return found


def turns(config: RopeConfig, size: int, types: Sequence[str]) -> tuple[Rotary, ...]:
    """Rotary positions of each layer, where those of each type turn at a speed of their own."""
    of_type = {one: rotary(config, size, one) for one in (FULL, SLIDING)}
    return tuple(of_type[one] for one in types)
