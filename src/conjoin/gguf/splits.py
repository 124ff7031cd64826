"""How the texts of a byte-level vocabulary are split before merging: what llama.cpp calls its pre-tokenizer.

Each pattern is the one in the tokenizer.json of the models it is named after.
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, normalizers, pre_tokenizers

from conjoin.errors import CheckpointError, nearest
from conjoin.gguf.header import Header

__all__ = ["SPLITS", "Split", "split_of"]


@dataclass(frozen=True)
class Split:
    """One way to split. Without a pattern it is GPT-2's."""

    pattern: str | None = None
    digits: bool = False  # each digit alone, before all else
    composed: bool = False  # texts are brought into Unicode's composed form (NFC)
    whole: bool = False  # what is a token of the vocabulary is not merged
    begins: bool = False  # with a beginning token, where the file does not say

    def normalizer(self) -> Any:
        """The library's normalizer, or None."""
        return normalizers.NFC() if self.composed else None

    def pre_tokenizer(self) -> Any:
        """The library's pre-tokenizer: pieces of text, then bytes."""
        if self.pattern is not None:
            first = pre_tokenizers.Split(Regex(self.pattern), behavior="isolated")
            return pre_tokenizers.Sequence([first, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False)
        if not self.digits:
            return bytewise
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytewise])


REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"

GPT2 = Split()
SMOLLM = Split(digits=True)
LLAMA3 = rf"{WORDS}|\p{{N}}{{1,3}}|{REST}"
QWEN2 = Split(rf"{WORDS}|\p{{N}}|{REST}", composed=True)
TEKKEN = Split(rf"{CASED}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+", whole=True, begins=True)

# By `tokenizer.ggml.pre`.
SPLITS: dict[str, Split] = {
    **dict.fromkeys(("gpt-2", "phi-2", "roberta-bpe", "olmo"), GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact"), SMOLLM),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), Split(LLAMA3, whole=True, begins=True)),
    "dbrx": Split(LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), QWEN2),
    "tekken": TEKKEN,
}


def split_of(header: Header) -> Split:
    """How a file's texts are split; GPT-2's way where a GPT-2 does not say. Raises CheckpointError for an unknown one."""
    name = header.optional("tokenizer.ggml.pre", str)
    if name is None and header.architecture == "gpt2":
        return GPT2
    if name not in SPLITS:
        raise CheckpointError(
            f'"{header.path}": the pre-tokenizer "{name}" is not known{nearest(str(name), SPLITS)}. conjoin reads '
            f"{', '.join(sorted(SPLITS))}."
        )
    return SPLITS[name]
