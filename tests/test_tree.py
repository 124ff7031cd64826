"""The README's tree is true: each path it names is there, and each file of the package's top level is named."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tree() -> list[tuple[str, str]]:
    """(path, what it is) of each line of the tree."""
    block = re.search(r"## The tree\n\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    found, folder = [], ""
    for line in block[1].splitlines():
        name, _, text = line.strip().partition(" ")
        if not line.startswith(" "):
            folder = name if name == "src/conjoin/" else ""
            found.append((name, text.strip()))
        else:
            found.append((folder + name, text.strip()))
    return found


def test_each_line_names_something_that_is_there_and_says_what_it_is() -> None:
    for path, text in tree():
        assert (ROOT / path).exists(), path
        assert text or path == "src/conjoin/", path


def test_each_module_of_the_package_has_a_line() -> None:
    named = {path.rstrip("/") for path, _ in tree()}
    for path in (ROOT / "src" / "conjoin").iterdir():
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__"):
            assert f"src/conjoin/{path.name}" in named, path.name
