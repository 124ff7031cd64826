"""The parts of a `tokenizers` library tokenizer: reading, building and adjusting them."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, WordPiece

from conjoin.errors import CheckpointError, ConjoinError

__all__ = [
    "Backend",
    "backend_errors",
    "byte_level_bpe",
    "effective_options",
    "model_kind",
    "read_backend",
    "set_add_prefix_space",
    "set_bert_normalizer",
    "template",
    "word_piece",
]

PANIC = ("pyo3_runtime", "PanicException")  # where Rust code finds itself wrong; no module has the class to import


@contextmanager
def backend_errors(say: Callable[[str], ConjoinError]) -> Iterator[None]:
    """Turns the errors of the `tokenizers` library, panics of its Rust too, into ours: `say` makes one of its message."""
    try:
        yield
    except BaseException as error:
        # The library raises the bare class for whatever goes wrong inside it; anything else is a bug of ours.
        if type(error) is not Exception and (type(error).__module__, type(error).__name__) != PANIC:
            raise
        raise say(str(error)) from error


def read_backend(path: Path) -> Backend:
    """A tokenizer.json. Raises CheckpointError where it is broken."""
    with backend_errors(lambda message: CheckpointError(_broken(path, message))):
        try:
            backend = Backend.from_str(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise CheckpointError(_broken(path, str(error))) from error
        if (
            backend.post_processor is not None
        ):  # a template may name tokens that it does not have, and say so when it is used
            backend.post_processor.process(Backend(BPE()).encode(""))
        return backend


def _broken(path: Path, message: str) -> str:
    return f'"{path}" is broken ({message}): copy it again from where it came.'


def model_kind(backend: Backend) -> str:
    """ "WordPiece", "BPE", "Unigram" or "WordLevel"."""
    return type(backend.model).__name__


def word_piece(path: Path, unk_token: str) -> Backend:
    """BERT's tokenizer of a vocab.txt, but for the normalizer's settings. Raises CheckpointError."""
    with backend_errors(lambda message: CheckpointError(_broken(path, message))):
        vocabulary = WordPiece.read_file(str(path))
    if not vocabulary:
        raise CheckpointError(f'"{path}" is empty: it should hold one token a line.')
    if unk_token not in vocabulary:
        raise CheckpointError(f'The unknown token "{unk_token}" is not in "{path}": pass unk_token= with one that is.')
    backend = Backend(WordPiece(vocabulary, unk_token=unk_token))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def byte_level_bpe(vocab: Path, merges: Path) -> Backend:
    """GPT-2's tokenizer of a vocab.json and a merges.txt. Raises CheckpointError."""
    try:
        content = json.loads(vocab.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(_broken(vocab, str(error))) from error
    if not isinstance(content, dict) or not content or not all(isinstance(index, int) for index in content.values()):
        raise CheckpointError(f'"{vocab}" is broken: it should map at least one token to its id.')
    with backend_errors(lambda message: CheckpointError(_broken(merges, message))):
        model = BPE(
            *BPE.read_file(str(vocab), str(merges)),
            continuing_subword_prefix="",
            end_of_word_suffix="",
            fuse_unk=False,
        )
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def set_bert_normalizer(backend: Backend, values: Mapping[str, Any]) -> bool:
    """Gives a BertNormalizer the settings in `values`, or their defaults. False where the tokenizer has none."""
    normalizer = backend.normalizer
    if not isinstance(normalizer, normalizers.BertNormalizer):
        return False
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=normalizer.clean_text,
        handle_chinese_chars=values.get("tokenize_chinese_chars", True),
        strip_accents=values.get("strip_accents"),
        lowercase=values.get("do_lower_case", True),
    )
    return True


def set_add_prefix_space(backend: Backend, add_prefix_space: bool) -> bool:
    """Whether a text begins as if a space stood before it. False where the tokenizer is not simply byte-level."""
    if not isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        return False
    state = _state(backend.pre_tokenizer)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=add_prefix_space, use_regex=state.get("use_regex", True)
    )
    return True


def template(before: str | None, between: str | None, after: str | None, backend: Backend) -> Any:
    """A post-processor that writes `before A after`, and for a pair `before A after between B after`.

    B and all that follows the first `after` has type id 1, as in BERT.
    """
    single = [*_slot(before, 0), "$A:0", *_slot(after, 0)]
    pair = [*single, *_slot(between, 1), "$B:1", *_slot(after, 1)]
    named = {token: backend.token_to_id(token) for token in (before, between, after) if token is not None}
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(named.items()))


def _slot(token: str | None, type_id: int) -> list[str]:
    return [] if token is None else [f"{token}:{type_id}"]


def effective_options(backend: Backend) -> dict[str, Any]:
    """The settings that transformers writes in tokenizer_config.json, as this tokenizer really works."""
    options: dict[str, Any] = {}
    if isinstance(backend.normalizer, normalizers.BertNormalizer):
        options["do_lower_case"] = backend.normalizer.lowercase
        options["strip_accents"] = backend.normalizer.strip_accents
        options["tokenize_chinese_chars"] = backend.normalizer.handle_chinese_chars
    if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        options["add_prefix_space"] = backend.pre_tokenizer.add_prefix_space
    if isinstance(backend.post_processor, processors.RobertaProcessing):
        options["trim_offsets"] = bool(_state(backend.post_processor).get("trim_offsets", True))
    return options


def _state(part: Any) -> dict[str, Any]:
    """A part's own JSON, which is what the library pickles."""
    state: dict[str, Any] = json.loads(part.__getstate__())
    return state
