"""The tokenizer that a GGUF file's metadata describes, built from parts of the `tokenizers` library."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece

from conjoin.errors import CheckpointError
from conjoin.gguf.header import Header
from conjoin.gguf.merges import merges_of
from conjoin.gguf.splits import split_of
from conjoin.tokens.backend import Backend, backend_errors, effective_options, template

__all__ = ["has_tokenizer", "tokenizer_of"]

MODEL = "tokenizer.ggml.model"
NONE = (None, "none", "no_vocab")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # llama.cpp's types of tokens
CAPITAL = re.compile("[A-Z]")
SPACE = "▁"  # SentencePiece's
LONGEST_PIECE = 1024  # characters: finding what a token may be merged of takes the square of its length
SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",  # as the format spells it
    "pad_token": "padding_token_id",
    "cls_token": "cls_token_id",
    "mask_token": "mask_token_id",
}


@dataclass(frozen=True)
class Tokens:
    """A file's tokens by id, with their types."""

    texts: list[str]
    types: list[int]

    def of_type(self, *types: int) -> list[str]:
        """The tokens of these types, in the order of ids."""
        return [text for text, kind in zip(self.texts, self.types, strict=True) if kind in types]


def has_tokenizer(header: Header) -> bool:
    """Whether the file holds a tokenizer."""
    return header.metadata.get(MODEL) not in NONE


def tokenizer_of(header: Header) -> tuple[Backend, dict[str, Any]]:
    """The library's tokenizer, and what a tokenizer_config.json would hold beside it.

    Raises CheckpointError for a kind of tokenizer, or a way to split texts, that is not known.
    """
    kind = header.get(MODEL, str)
    builders = {"gpt2": byte_level, "llama": sentence_piece, "bert": word_piece}
    if kind not in builders:
        raise CheckpointError(
            f'"{header.path}": tokenizers of the kind "{kind}" are not read; gpt2, llama and bert are.'
        )
    tokens = respelled(header, kind, tokens_of(header))
    special = special_tokens(header, tokens)
    with backend_errors(lambda message: CheckpointError(f'"{header.path}": its tokenizer is broken ({message}).')):
        backend = builders[kind](header, tokens, special)
    control = [text for text in tokens.of_type(CONTROL) if text]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    whole = [AddedToken(text, normalized=False) for text in tokens.of_type(USER_DEFINED) if text]
    backend.add_tokens(whole)
    settings = {
        **special,
        "additional_special_tokens": [text for text in control if text not in special.values()],
        "tokenizer_class": "BertTokenizer" if kind == "bert" else "PreTrainedTokenizerFast",
        **effective_options(backend),
    }
    return backend, settings


def tokens_of(header: Header) -> Tokens:
    """The tokens as the file spells them. Raises CheckpointError where there are none."""
    texts = header.strings("tokenizer.ggml.tokens")
    if not texts:
        raise CheckpointError(f'"{header.path}" has no tokens in its tokenizer.')
    key = "tokenizer.ggml.token_type"
    if key not in header.metadata:
        return Tokens(texts, [NORMAL] * len(texts))
    types = header.numbers(key, len(texts))
    if type(types[0]) is not int:
        raise CheckpointError(
            f'"{header.path}": "{key}" holds {type(types[0]).__name__}s; whole numbers were expected.'
        )
    return Tokens(texts, [int(number) for number in types])


def special_tokens(header: Header, tokens: Tokens) -> dict[str, str]:
    """The special tokens by their names. Raises CheckpointError for an id that no token has."""
    found = {}
    for name, key in SPECIAL.items():
        index = header.optional(f"tokenizer.ggml.{key}", int)
        if index is None:
            continue
        if not 0 <= index < len(tokens.texts):
            raise CheckpointError(f'"{header.path}": its {key} is {index}, and it has {len(tokens.texts)} tokens.')
        found[name] = tokens.texts[index]
    return found


def respelled(header: Header, kind: str, tokens: Tokens) -> Tokens:
    """The tokens as a vocabulary of the library spells them. Raises CheckpointError where two are one then."""
    spell = {"gpt2": spelled_in_bytes, "llama": spelled_as_it_is, "bert": spelled_by_place}[kind]
    if of_gemma(header):
        spell = spelled_with_spaces
    pairs = [spell(text, token_type) for text, token_type in zip(tokens.texts, tokens.types, strict=True)]
    found = Tokens([text for text, _ in pairs], [token_type for _, token_type in pairs])
    if len(set(found.texts)) < len(found.texts):
        twice = Counter(found.texts).most_common(1)[0][0]
        raise CheckpointError(f'"{header.path}" has the token "{twice}" twice in its tokenizer.')
    return found


def of_gemma(header: Header) -> bool:
    """Whether it is a Gemma of any generation, which treats spaces in its own way."""
    return header.architecture.startswith("gemma")


def spelled_as_it_is(text: str, token_type: int) -> tuple[str, int]:
    """SentencePiece's own spelling."""
    return text, token_type


def spelled_in_bytes(text: str, token_type: int) -> tuple[str, int]:
    """A byte-level vocabulary writes a character for each byte; tokens that are matched whole stay as they are."""
    if token_type in (CONTROL, USER_DEFINED) or all(character in LETTERS for character in text):
        return text, token_type
    return "".join(ALPHABET[byte] for byte in text.encode("utf-8")), token_type


def spelled_with_spaces(text: str, token_type: int) -> tuple[str, int]:
    """llama.cpp writes Gemma's runs of spaces as they are in texts; the vocabulary has SentencePiece's, and merges them."""
    if text and not text.strip(" "):
        return SPACE * len(text), NORMAL
    return text, token_type


def spelled_by_place(text: str, token_type: int) -> tuple[str, int]:
    """llama.cpp marks the beginnings of words, WordPiece what continues them."""
    if token_type == CONTROL:
        return text, token_type
    return (text.removeprefix(SPACE) if text.startswith(SPACE) else f"##{text}"), token_type


def byte_alphabet() -> list[str]:
    """The character of each byte, as GPT-2 has them: printable ones are themselves, others follow the first 256."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


ALPHABET = byte_alphabet()
LETTERS = frozenset(ALPHABET)


def byte_level(header: Header, tokens: Tokens, special: dict[str, str]) -> Backend:
    """Byte-level BPE with merges."""
    split = split_of(header)
    vocabulary = {text: index for index, text in enumerate(tokens.texts)}
    pairs = given_merges(header)
    backend = Backend(BPE(vocabulary, pairs, ignore_merges=split.whole))
    if split.composed:
        backend.normalizer = split.normalizer()
    backend.pre_tokenizer = split.pre_tokenizer()
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = frame(header, special, backend, begins=split.begins)
    return backend


def given_merges(header: Header) -> list[tuple[str, str]]:
    """The file's merges. Raises CheckpointError for one that is no pair."""
    found = []
    for merge in header.strings("tokenizer.ggml.merges"):
        left, _, right = merge.partition(" ")
        if not left or not right or " " in right:
            raise CheckpointError(
                f'"{header.path}" has the merge {merge!r:.60}; two tokens with a space were expected.'
            )
        found.append((left, right))
    return found


def sentence_piece(header: Header, tokens: Tokens, special: dict[str, str]) -> Backend:
    """BPE over characters, bytes where a character has no token; Gemma's, Phi-3's or Llama's handling of spaces."""
    vocabulary = {text: index for index, text in enumerate(tokens.texts)}
    scores = header.numbers("tokenizer.ggml.scores", len(tokens.texts))
    if of_gemma(header):  # whose scores do not follow the order of its merges; its ids do
        scores = [-float(index) for index in range(len(tokens.texts))]
    mergeable = {
        text: score
        for text, kind, score in zip(tokens.texts, tokens.types, scores, strict=True)
        if kind not in (UNKNOWN, CONTROL, BYTE)
    }
    longest = max(map(len, mergeable), default=0)
    if longest > LONGEST_PIECE:
        raise CheckpointError(f'"{header.path}" has a token of {longest} characters; {LONGEST_PIECE} is the most.')
    backend = Backend(
        BPE(
            vocabulary,
            merges_of(vocabulary, mergeable),
            unk_token=special.get("unk_token"),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefixed = header.optional("tokenizer.ggml.add_space_prefix", bool) is not False and not of_gemma(header)
    handle_spaces(backend, header, prefixed)
    backend.post_processor = frame(header, special, backend, begins=True)
    return backend


def handle_spaces(backend: Backend, header: Header, prefixed: bool) -> None:
    """Spaces to SentencePiece's and back, with one before the text where it is prefixed."""
    to_space = normalizers.Replace(" ", SPACE)
    if of_gemma(header):
        backend.normalizer = to_space
        backend.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    elif header.architecture == "phi3" and prefixed:  # even before a text that begins with a space
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), to_space])
    else:
        scheme = "first" if prefixed else "never"
        backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=False)
    parts = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*parts, decoders.Strip(" ", left=1)] if prefixed else parts)


def frame(header: Header, special: dict[str, str], backend: Backend, *, begins: bool) -> Any:
    """The tokens before and after a text, as the file's flags say, or else as is the custom."""
    bos = header.optional("tokenizer.ggml.add_bos_token", bool)
    eos = header.optional("tokenizer.ggml.add_eos_token", bool)
    first = special.get("bos_token") if (begins if bos is None else bos) else None
    return template(first, first, special.get("eos_token") if eos else None, backend)


def word_piece(header: Header, tokens: Tokens, special: dict[str, str]) -> Backend:
    """BERT's WordPiece. The file does not say whether it lower-cases; it does where no token has a capital letter."""
    unknown = special.get("unk_token", "[UNK]")
    if unknown not in tokens.texts:
        raise CheckpointError(f'"{header.path}": its tokenizer has no unknown token "{unknown}".')
    vocabulary = {text: index for index, text in enumerate(tokens.texts)}
    plain = tokens.of_type(NORMAL)
    cased = any(CAPITAL.search(text) and not text.startswith("[") for text in plain)
    backend = Backend(WordPiece(vocabulary, unk_token=unknown))
    backend.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend
