"""A model out of one GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), wherever a folder is taken.

header.py         what stands before the tensors: metadata, and where each tensor lies; every size checked
architectures.py  one table an architecture: its keys and tensors, and transformers' names for them
config.py         metadata to what a config.json would hold
rope.py           rotary positions, and their scaling
tensors.py        tensors under transformers' names, unpacked one at a time
tokenizer.py      metadata to a tokenizer
splits.py         how a byte-level vocabulary's texts are split before merging
merges.py         the merges of a vocabulary that has scores instead
"""

from pathlib import Path

__all__ = ["is_gguf"]


def is_gguf(path: Path) -> bool:
    """Whether this is a GGUF file by its name; whether it is a whole one is said when it is read."""
    return path.suffix == ".gguf" and path.is_file()
