"""The tokenizers that a model's folder holds, where it holds any."""

from pathlib import Path

from conjoin.gguf import is_gguf
from conjoin.tokens.auto import AutoTokenizer
from conjoin.tokens.loading import FILES
from conjoin.tokens.pair import TARGET_FOLDER, TokenizerLike, TokenizerPair

__all__ = ["TOKENIZER_FILES", "find_pair", "find_tokenizer"]

TOKENIZER_FILES = (*FILES, f"{TARGET_FOLDER}/*")
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")


def find_tokenizer(folder: Path) -> TokenizerLike | None:
    """The tokenizer at the root of a folder, or in a GGUF file; None where there is no vocabulary.

    Raises CheckpointError for a broken one.
    """
    if not holds_vocabulary(folder):
        return None
    return AutoTokenizer.from_pretrained(folder)


def find_pair(folder: Path) -> TokenizerPair | None:
    """The source and the target tokenizer of a joined model's folder, or None where it has none."""
    if not holds_vocabulary(folder):
        return None
    return TokenizerPair.from_pretrained(folder)


def holds_vocabulary(folder: Path) -> bool:
    """Whether a folder, or a GGUF file, has a tokenizer at all."""
    if not is_gguf(folder):
        return any((folder / name).is_file() for name in VOCABULARIES)
    from conjoin.gguf.header import read_header
    from conjoin.gguf.tokenizer import has_tokenizer

    return has_tokenizer(read_header(folder))
