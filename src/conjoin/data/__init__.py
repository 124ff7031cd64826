"""The headline task that `conjoin demo` runs on: long and one-line descriptions of Debian packages, part of the package.

8,000 training, 500 validation and 500 test pairs, JSON lines of "id", "document" and "summary". Source: Debian 12
"bookworm" main, the archive's Translation-en index; the descriptions come under the packages' own free licences.
Descriptions that begin alike lie in one part only, so nothing of the test part is seen in training.
"""

from importlib.resources import files
from pathlib import Path
from typing import Literal

__all__ = ["split_file"]


def split_file(split: Literal["train", "validation", "test"]) -> Path:
    """The file of one part, gzipped JSON lines."""
    return Path(str(files(__package__) / f"{split}.jsonl.gz"))
