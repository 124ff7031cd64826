"""What marks a folder as an extractor's; known without any framework."""

from pathlib import Path

__all__ = ["HEAD_FILE", "SETTINGS_FILE", "is_extractor"]

SETTINGS_FILE, HEAD_FILE = "extractor.json", "extractor.safetensors"


def is_extractor(folder: str | Path) -> bool:
    """Whether a folder has an extractor's settings."""
    return (Path(folder) / SETTINGS_FILE).is_file()
