"""What tells one model folder from another, without reading all of it."""

import hashlib
from pathlib import Path

from conjoin.config import CONFIG_FILE
from conjoin.hub import resolve

__all__ = ["identity"]

END = 1 << 20  # bytes: of each file the first and the last so many are read; training changes all of a file of weights
SUFFIXES = (".json", ".safetensors", ".bin", ".onnx", ".data")
VOCABULARIES = ("vocab.txt", "merges.txt")


def identity(model: str) -> str:
    """A short text that is another for another model, of a folder, a GGUF file, or a hub id that was fetched."""
    folder = resolve(model, files=[CONFIG_FILE], local_files_only=True)
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if of_a_model(path)]
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(files):
        size = path.stat().st_size
        found.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as opened:
            found.update(opened.read(END))
            opened.seek(max(size - END, 0))
            found.update(opened.read(END))
    return found.hexdigest()


def of_a_model(path: Path) -> bool:
    """Whether a file of the folder has a part in what is written."""
    return path.is_file() and (path.suffix in SUFFIXES or path.name in VOCABULARIES)
