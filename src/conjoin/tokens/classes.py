"""BERT's, RoBERTa's, BART's and GPT-2's tokenizers: what each sets, and which class belongs to which model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import processors

from conjoin.errors import CheckpointError
from conjoin.tokens.backend import (
    Backend,
    byte_level_bpe,
    set_add_prefix_space,
    set_bert_normalizer,
    template,
    word_piece,
)
from conjoin.tokens.tokenizer import Tokenizer

__all__ = [
    "CLASS_NAMES",
    "INPUT_NAMES",
    "MODEL_TYPES",
    "BartTokenizer",
    "BartTokenizerFast",
    "BertTokenizer",
    "BertTokenizerFast",
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
]


class BertTokenizer(Tokenizer):
    """WordPiece, lower-casing unless do_lower_case=False: [CLS] A [SEP], or [CLS] A [SEP] B [SEP]."""

    kind = "WordPiece"
    special_defaults: ClassVar = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    input_names = ("input_ids", "token_type_ids", "attention_mask")

    @classmethod
    def from_vocabulary_files(cls, folder: Path, unk_token: str) -> Backend | None:
        """The library's tokenizer of vocab.txt."""
        path = folder / "vocab.txt"
        return word_piece(path, unk_token) if path.is_file() else None

    @classmethod
    def arrange(
        cls, backend: Backend, values: Mapping[str, Any], special: Mapping[str, str], *, ready: bool, asked: set[str]
    ) -> None:
        """Sets lower-casing, accents, Chinese characters, the unknown token and the frame of [CLS] and [SEP]."""
        set_bert_normalizer(backend, values)
        if "unk_token" in special:
            backend.model.unk_token = special["unk_token"]
        told = ready and isinstance(backend.post_processor, processors.TemplateProcessing)
        if not told or asked & {"cls_token", "sep_token"}:
            cls_token, sep_token = _frame(cls, special)
            backend.post_processor = template(cls_token, None, sep_token, backend)


class RobertaTokenizer(Tokenizer):
    """Byte-level BPE: <s> A </s>, or <s> A </s></s> B </s>."""

    kind = "BPE"
    special_defaults: ClassVar = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }

    @classmethod
    def from_vocabulary_files(cls, folder: Path, unk_token: str) -> Backend | None:
        """The library's tokenizer of vocab.json and merges.txt."""
        return _vocabulary_and_merges(folder)

    @classmethod
    def arrange(
        cls, backend: Backend, values: Mapping[str, Any], special: Mapping[str, str], *, ready: bool, asked: set[str]
    ) -> None:
        """Sets the prefix space and the frame of <s> and </s>."""
        add_prefix_space = bool(values.get("add_prefix_space", False))
        set_add_prefix_space(backend, add_prefix_space)
        told = ready and isinstance(backend.post_processor, processors.TemplateProcessing)
        if not told or asked & {"cls_token", "sep_token"}:
            first, last = _frame(cls, special)
            first_id, last_id = backend.token_to_id(first), backend.token_to_id(last)
            assert first_id is not None
            assert last_id is not None
            backend.post_processor = processors.RobertaProcessing(
                (last, last_id), (first, first_id), bool(values.get("trim_offsets", True)), add_prefix_space
            )


class BartTokenizer(RobertaTokenizer):
    """RoBERTa's tokenizer, which is BART's too."""


class GPT2Tokenizer(Tokenizer):
    """Byte-level BPE, the text alone: no token before, between or after, and none to pad with."""

    kind = "BPE"
    special_defaults = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")

    @classmethod
    def from_vocabulary_files(cls, folder: Path, unk_token: str) -> Backend | None:
        """The library's tokenizer of vocab.json and merges.txt."""
        return _vocabulary_and_merges(folder)

    @classmethod
    def arrange(
        cls, backend: Backend, values: Mapping[str, Any], special: Mapping[str, str], *, ready: bool, asked: set[str]
    ) -> None:
        """Sets the prefix space, and a beginning token where add_bos_token says so."""
        set_add_prefix_space(backend, bool(values.get("add_prefix_space", False)))
        if "add_bos_token" in values or backend.post_processor is None:
            bos = special.get("bos_token") if values.get("add_bos_token") else None
            backend.post_processor = template(bos, bos, None, backend)


# transformers' other names: all tokenizers here are fast ones.
BertTokenizerFast = BertTokenizer
RobertaTokenizerFast = RobertaTokenizer
BartTokenizerFast = BartTokenizer
GPT2TokenizerFast = GPT2Tokenizer


def _vocabulary_and_merges(folder: Path) -> Backend | None:
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    if not vocab.is_file() and not merges.is_file():
        return None
    for path in (vocab, merges):
        if not path.is_file():
            raise CheckpointError(
                f'"{path}" is missing: byte-level BPE needs vocab.json and merges.txt, or tokenizer.json.'
            )
    return byte_level_bpe(vocab, merges)


def _frame(cls: type[Tokenizer], special: Mapping[str, str]) -> tuple[str, str]:
    """The tokens before and after a text. Raises CheckpointError where the vocabulary lacks them."""
    for name in ("cls_token", "sep_token"):
        if name not in special:
            token = cls.special_defaults[name]
            raise CheckpointError(
                f'{cls.__name__} needs a {name}, and "{token}" is not in the vocabulary: pass {name}=.'
            )
    return special["cls_token"], special["sep_token"]


# The class that a tokenizer_config.json names, without "Fast"; every other name is read from tokenizer.json as it is.
CLASS_NAMES: dict[str, type[Tokenizer]] = {
    "BertTokenizer": BertTokenizer,
    "DistilBertTokenizer": BertTokenizer,
    "ElectraTokenizer": BertTokenizer,
    "ConvBertTokenizer": BertTokenizer,
    "MobileBertTokenizer": BertTokenizer,
    "SqueezeBertTokenizer": BertTokenizer,
    "RobertaTokenizer": RobertaTokenizer,
    "LongformerTokenizer": RobertaTokenizer,
    "BartTokenizer": BartTokenizer,
    "LEDTokenizer": BartTokenizer,
    "GPT2Tokenizer": GPT2Tokenizer,
}

# The class where only config.json's model_type says which; every other type is read from tokenizer.json as it is.
MODEL_TYPES: dict[str, str] = {
    **dict.fromkeys(
        ("bert", "distilbert", "electra", "convbert", "ernie", "layoutlm", "megatron-bert", "mobilebert", "nomic_bert"),
        "BertTokenizer",
    ),
    **dict.fromkeys(
        ("roberta", "roberta-prelayernorm", "longformer", "data2vec-text", "ibert"),
        "RobertaTokenizer",
    ),
    **dict.fromkeys(("bart", "led"), "BartTokenizer"),
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "codegen", "opt", "phi"), "GPT2Tokenizer"),
}

# Classes whose calls return other keys than their base's, as transformers 5.23 has them.
INPUT_NAMES: dict[str, tuple[str, ...]] = {
    "DistilBertTokenizer": ("input_ids", "attention_mask"),
    "DebertaTokenizer": ("input_ids", "attention_mask", "token_type_ids"),
    "DebertaV2Tokenizer": ("input_ids", "attention_mask", "token_type_ids"),
}
