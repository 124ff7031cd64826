"""Recipes as small files: those that come with the package, and reading and writing others."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from conjoin.errors import ConfigError, nearest
from conjoin.training.recipe import NUMBERS, TABLES, Recipe

__all__ = ["RECIPE_FILE", "names", "parsed", "read", "written"]

RECIPE_FILE = "recipe.toml"  # beside a trained model
SUFFIX = ".toml"
NONE = "none"  # TOML has no word for it


def names() -> list[str]:
    """The recipes that come with the package."""
    found = (path.name for path in files(__name__).iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


def read(name: str | Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe of the package, or of a file, holds, with changes: what `Recipe.from_dict` takes.

    Raises ConfigError for a recipe that is not known, a file that cannot be read, or a change of no setting.
    """
    try:
        found = tomllib.loads(text_of(str(name)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'recipe "{name}" is not TOML: {error}.') from None
    try:
        Recipe.from_dict(without_none(found))  # what is wrong in the file is said of the file
    except ConfigError as error:
        raise ConfigError(f'recipe "{name}": {error}') from None
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


def put(found: dict[str, Any], key: str, value: Any) -> None:
    """Sets one value, of a table where the key has a dot."""
    table, dot, name = key.rpartition(".")
    if not dot:
        found[name] = value
        return
    known = [*TABLES, "generation"]
    if table not in known:
        raise ConfigError(f'a recipe has no table "{table}" (of "{key}"){nearest(table, known)}.')
    found[table] = {**found.get(table, {}), name: value}


def without_none(found: Mapping[str, Any]) -> dict[str, Any]:
    """The word "none" as None, in numbers that may be left out."""
    return {name: None if value == NONE and name in NUMBERS else value for name, value in found.items()}


def parsed(setting: str) -> tuple[str, Any]:
    """Key and value of "key=value", the value as TOML has it, or as a word. Raises ConfigError for what has no "="."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise ConfigError(f'"{setting}" sets nothing; key=value was expected, such as encoder.learning_rate=1e-4.')
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


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
