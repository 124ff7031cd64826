"""Which layers of a decoder have cross-attention, as a config says it."""

from typing import Any

from conjoin.errors import ConfigError

__all__ = ["crossed_layers"]


def crossed_layers(given: Any, layers: int) -> tuple[int, ...] | None:
    """The layers with cross-attention; None for all. Raises ConfigError for what names none of them."""
    if given in (None, "all"):
        return None
    if isinstance(given, str) and given.startswith("every_") and given.removeprefix("every_").isdecimal():
        step = int(given.removeprefix("every_"))
        if 1 <= step <= layers:
            return tuple(range(step - 1, layers, step))
    elif isinstance(given, list | tuple) and given and all(type(i) is int and 0 <= i < layers for i in given):
        return tuple(sorted(set(given)))
    raise ConfigError(
        f'cross_attention_layers is {given!r}; "all", "every_2", or a list of some of the layers 0 to {layers - 1} was '
        f"expected."
    )
