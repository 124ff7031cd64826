"""The files that say how images and sounds become arrays: they travel with a model, for the processor that reads them."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["PROCESSOR_FILES", "find_processor", "write_processor"]

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def find_processor(folder: Path) -> dict[str, str]:
    """The texts of a folder's files of this kind, by name."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in PROCESSOR_FILES if (folder / name).is_file()}


def write_processor(folder: Path, files: Mapping[str, str]) -> None:
    """Writes them into a folder."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
