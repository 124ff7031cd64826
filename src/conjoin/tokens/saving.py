"""Writes a tokenizer's folder in the form that transformers 4.57 and 5 open with equal results."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from conjoin.errors import CheckpointError
from conjoin.tokens.backend import Backend, effective_options, model_kind
from conjoin.tokens.tokenizer import Tokenizer

__all__ = ["save"]


def save(tokenizer: Tokenizer, folder: Path) -> tuple[str, ...]:
    """Writes the three files, each whole or not at all; returns their paths. Raises CheckpointError."""
    contents = {
        "tokenizer_config.json": _to_json(_settings(tokenizer)),
        "special_tokens_map.json": _to_json(_special_tokens_map(tokenizer)),
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(pretty=True),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            _write(folder / name, text)
    except OSError as error:
        raise CheckpointError(f'The tokenizer could not be written to "{folder}" ({error.strerror}).') from error
    return tuple(str(folder / name) for name in contents)


def _write(path: Path, text: str) -> None:
    """Through a file beside it, so that whoever reads meanwhile finds the old one or the new one, never a half."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _settings(tokenizer: Tokenizer) -> dict[str, Any]:
    """The tokenizer_config.json.

    The added tokens are listed although tokenizer.json has them: where they are, both versions of transformers take
    no notice of an added_tokens.json or special_tokens_map.json that an older save left in the folder. The extra
    tokens go by their older name, which both read (4.57 fails on a list under the newer one). Cleaning of spaces is
    written as false for BPE, where 5 ignores it and 4.57 would not.
    """
    backend = tokenizer.backend_tokenizer
    cleans = tokenizer.clean_up_tokenization_spaces and model_kind(backend) != "BPE"
    ordinary = _is_ordinary(tokenizer)
    settings: dict[str, Any] = {
        **dict.fromkeys(tokenizer.special_defaults),  # null where a default of the class is unset
        **tokenizer.special_tokens_map,
        **effective_options(backend),
        "added_tokens_decoder": {
            str(index): token.__getstate__() for index, token in tokenizer.added_tokens_decoder.items()
        },
        "clean_up_tokenization_spaces": cleans,
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "tokenizer_class": tokenizer.tokenizer_class if ordinary else "PreTrainedTokenizerFast",
    }
    if tokenizer.additional_special_tokens:
        settings["additional_special_tokens"] = tokenizer.additional_special_tokens
    if not ordinary or tuple(tokenizer.model_input_names) != type(tokenizer).input_names or not tokenizer.kind:
        settings["model_input_names"] = tokenizer.model_input_names
    if backend.encode_special_tokens:
        settings["split_special_tokens"] = True
    return settings


def _is_ordinary(tokenizer: Tokenizer) -> bool:
    """Whether the class makes these very parts by itself.

    transformers 5 builds a named class's parts anew from the vocabulary, and would lose others that a tokenizer.json
    held; such a tokenizer is saved as one without a class, which both versions take as it is.
    """
    if not tokenizer.kind:
        return True
    backend = tokenizer.backend_tokenizer
    rebuilt = Backend.from_str(backend.to_str())
    asked = {"cls_token", "sep_token"}
    try:
        type(tokenizer).arrange(
            rebuilt, effective_options(backend), tokenizer.special_tokens_map, ready=True, asked=asked
        )
    except CheckpointError:
        return False
    return _parts(rebuilt) == _parts(backend)


def _parts(backend: Backend) -> list[bytes | None]:
    parts = (backend.normalizer, backend.pre_tokenizer, backend.post_processor, backend.decoder)
    return [None if part is None else part.__getstate__() for part in parts]


def _special_tokens_map(tokenizer: Tokenizer) -> dict[str, Any]:
    """The special_tokens_map.json, for readers older than either version."""
    added = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    named: dict[str, Any] = {name: _entry(text, added) for name, text in tokenizer.special_tokens_map.items()}
    if tokenizer.additional_special_tokens:
        named["additional_special_tokens"] = [_entry(text, added) for text in tokenizer.additional_special_tokens]
    return named


def _entry(text: str, added: Mapping[str, AddedToken]) -> Any:
    """A token's text, or a dict where it is matched in a way of its own."""
    token = added.get(text)
    if token is None or not (token.lstrip or token.rstrip or token.single_word or token.normalized):
        return text
    return {key: value for key, value in token.__getstate__().items() if key != "special"}
