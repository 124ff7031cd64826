"""Recipes as small files: those that come with the package, and reading and writing others."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from conjoin.errors import ConfigError, nearest
from conjoin.training.recipe import NUMBERS, TABLES, Recipe
from conjoin.training.tables import GROUPS

__all__ = ["RECIPE_FILE", "names", "parsed", "read", "written"]

RECIPE_FILE = "recipe.toml"  # beside a trained model
SUFFIX = ".toml"
NONE = "none"  # TOML has no word for it
WORDS = {"True": True, "False": False, "None": NONE}  # Python's, which messages use
WARMUPS = tuple(f"{group}.{name}" for group in GROUPS for name in ("warmup_ratio", "warmup_steps"))
# What a file says that would be heeded in place of a change, and gives way to it.
GIVES_WAY: dict[str, tuple[str, ...]] = {
    "learning_rate": ("encoder.learning_rate", "decoder.learning_rate"),
    "new_learning_rate": ("new.learning_rate",),
    "weight_decay": tuple(f"{group}.weight_decay" for group in GROUPS),
    "warmup_ratio": ("warmup_steps", *WARMUPS),
    "warmup_steps": WARMUPS,
    **{f"{group}.warmup_ratio": (f"{group}.warmup_steps",) for group in GROUPS},
    "train_first_ratio": ("train_first_steps",),
    "batch_size": ("batch_tokens",),
}


def names() -> list[str]:
    """The recipes that come with the package."""
    found = (path.name for path in files(__name__).iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


def read(name: str | Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe of the package, or of a file, holds, with changes, which go before whatever it says of the same.

    It is what `Recipe.from_dict` takes. Raises ConfigError for a recipe that is not known, a file that cannot be read, or a
    change of no setting.
    """
    try:
        found = tomllib.loads(text_of(str(name)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'recipe "{name}" is not TOML: {error}.') from None
    try:
        Recipe.from_dict(without_none(found))  # what is wrong in the file is said of the file
    except ConfigError as error:
        raise ConfigError(f'recipe "{name}": {error}') from None
    for key in (old for new in changes for old in GIVES_WAY.get(new, ())):
        drop(found, key)
    for key, value in changes.items():
        put(found, key, value)
    return without_none(found)


def text_of(name: str) -> str:
    """The text of a recipe."""
    if not name.endswith(SUFFIX):
        if name not in names():
            raise ConfigError(
                f'there is no recipe "{name}"{nearest(name, names())}; one of {", ".join(names())}, or a file that ends in '
                f"{SUFFIX}."
            )
        return (files(__name__) / f"{name}{SUFFIX}").read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'recipe "{name}" cannot be read: {error}.') from None


def drop(found: dict[str, Any], key: str) -> None:
    """Removes one value, of a table where the key has a dot, if it is there."""
    table, dot, name = key.rpartition(".")
    if not dot:
        found.pop(name, None)
    elif isinstance(found.get(table), Mapping):
        found[table] = {own: value for own, value in found[table].items() if own != name}


def put(found: dict[str, Any], key: str, value: Any) -> None:
    """Sets one value, of a table where the key has a dot."""
    table, dot, name = key.rpartition(".")
    if not dot:
        found[name] = value
        return
    known = [*TABLES, "generation"]
    if table not in known:
        raise ConfigError(f'a recipe has no table "{table}" (of "{key}"){nearest(table, known)}.')
    inner = found.get(table, {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{table} is {inner!r}; a table of settings was expected.")
    found[table] = {**inner, name: value}


def without_none(found: Mapping[str, Any]) -> dict[str, Any]:
    """The word "none" as None, in numbers that may be left out, those of groups too."""

    def plain(name: str, value: Any) -> Any:
        if name in GROUPS and isinstance(value, Mapping):
            return without_none(value)
        return None if value == NONE and name in NUMBERS else value

    return {name: plain(name, value) for name, value in found.items()}


def parsed(setting: str) -> tuple[str, Any]:
    """Key and value of "key=value", the value as TOML has it, or as a word; Python's True, False and None are words too.

    Raises ConfigError for what has no "=".
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise ConfigError(f'"{setting}" sets nothing; key=value was expected, such as encoder.learning_rate=1e-4.')
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), WORDS.get(text.strip(), text.strip())


def written(recipe: Recipe) -> str:
    """A recipe as TOML that `Recipe.load` reads as the same: every setting but those that are left out."""
    lines, tables = ["# Every setting of this model's training; `conjoin train --recipe` takes it.", ""], []
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if field.name in TABLES:
            value = {f.name: getattr(value, f.name) for f in fields(value)}
        if isinstance(value, Mapping):
            inner = [f"{key} = {toml(one)}" for key, one in value.items() if one is not None]
            tables += ["", f"[{field.name}]", *inner] if inner else []
        elif value is not None or field.default is not None:
            lines.append(f"{field.name} = {toml(value)}")
    return "\n".join(lines + tables) + "\n"


def toml(value: Any) -> str:
    """One value as TOML has it."""
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(toml(one) for one in value) + "]"
