"""Every `conjoin` command that the documentation shows is one: its name, its options and their values are the program's."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conjoin.cli import COMMANDS, imported
from conjoin.training import Recipe

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CALL = re.compile(rf"(?:conjoin|python -m conjoin|-m conjoin) ((?:{'|'.join(COMMANDS)})\b.*)")
STOPS = ("|", "&&", ">", ";", "2>", "&")  # where another command begins
OPTION = re.compile(r"--[a-z][a-z-]+")


def parted(page: str) -> tuple[list[str], str]:
    """A page's blocks of code, and its sentences."""
    parts = re.split(r"^```.*$", page, flags=re.MULTILINE)
    return parts[1::2], " ".join(parts[::2])


def codes(page: str) -> list[str]:
    """What is code within sentences."""
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", parted(page)[1])]


def commands(page: str) -> Iterator[tuple[str, bool]]:
    """What follows `conjoin` on a page, and whether it is a whole command: a line of a block, not a mention in a sentence."""
    lines = [line for block in parted(page)[0] for line in block.replace("\\\n", " ").splitlines()]
    for line in lines:
        yield from ((found[1], "..." not in found[1]) for found in [CALL.search(line)] if found)
    for code in codes(page):
        yield from ((found[1], False) for found in [CALL.search(code)] if found)


def words(text: str) -> list[str]:
    """A command's words, up to a comment or another command."""
    found = shlex.split(text, comments=True)
    return found[: next((i for i, word in enumerate(found) if word in STOPS), len(found))]


def options_of(command: Any) -> set[str]:
    """What a command takes."""
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_the_programs(page: Path) -> None:
    for text, whole in commands(page.read_text(encoding="utf-8")):
        name, *given = words(text)
        command: Any = imported(name)
        unknown = {word.split("=")[0] for word in given if OPTION.match(word)} - options_of(command)
        assert not unknown, text
        if whole:
            command.make_context(name, given)  # raises where something is missing, or a value is of another kind


def test_options_in_the_sentences_on_training_are_some_commands() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    known = set().union(
        *(options_of(imported(name)) for name in ("train", "distill", "evaluate", "extract", "average"))
    )
    others = {"--use_fsdp", "--fsdp_version", "--logdir"}  # Accelerate's and TensorBoard's
    mentioned = {word for code in codes(page) for word in re.findall(r"--[a-z][a-z_-]+", code)}
    assert len(mentioned) > 30
    assert not mentioned - known - others


def test_the_recipe_on_the_page_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (file,) = re.findall(r"```toml\n(# mine\.toml.*?)```", text, re.DOTALL)
    (tmp_path / "mine.toml").write_text(file)
    recipe = Recipe.load(str(tmp_path / "mine.toml"))
    assert (recipe.schedule, recipe.batch_tokens, recipe.encoder.warmup_ratio) == ("cosine", 8000, 0.2)
    assert recipe.generation == {"num_beams": 4}
