"""What a setting of a recipe can be: a number in a range, one of some words, parts of a model."""

from typing import Any, get_args

from conjoin.errors import ConfigError, nearest
from conjoin.parameters import PartName

__all__ = ["check_choice", "check_flag", "check_number", "check_parts"]


def check_number(name: str, value: Any, kind: type, low: float, high: float, optional: bool) -> None:
    """Raises ConfigError unless the value is a number of the kind, in the range, or None where that may be."""
    if value is None and optional:
        return
    kinds = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(
            f"{name} is {value!r}; {what} from {low:g} to {high:g}{' or None' if optional else ''} was expected."
        )


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises ConfigError unless the value is one of the choices."""
    if value not in choices:
        near = nearest(value, choices) if isinstance(value, str) else ""
        raise ConfigError(f"{name} is {value!r}; one of {', '.join(map(str, choices))} was expected{near}.")


def check_flag(name: str, value: Any) -> None:
    """Raises ConfigError unless the value is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; True or False was expected.")


def check_parts(name: str, value: Any) -> None:
    """Raises ConfigError unless the value is a tuple of parts of a model (in a file a list)."""
    if not isinstance(value, tuple):
        raise ConfigError(f'{name} is {value!r}; a list of parts was expected, such as ["embeddings"].')
    for part in value:
        check_choice(name, part, get_args(PartName))
