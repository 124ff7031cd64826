"""Opens a tokenizer's folder: reads its files, settles its special tokens, builds it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import AddedToken, normalizers, pre_tokenizers

from conjoin.errors import CheckpointError, ConjoinError, InputError, refuse_unknown
from conjoin.gguf import is_gguf
from conjoin.hub import resolve
from conjoin.tokens.backend import (
    Backend,
    effective_options,
    model_kind,
    read_backend,
    set_add_prefix_space,
    set_bert_normalizer,
)
from conjoin.tokens.plan import NO_LENGTH_LIMIT
from conjoin.tokens.settings import OVERRIDES, read_settings
from conjoin.tokens.special import SPECIAL_TOKENS, added_token, content
from conjoin.tokens.tokenizer import Settings, Tokenizer

__all__ = ["FILES", "Files", "find_folder", "open_tokenizer", "read_files"]

# All that a tokenizer is read from, and so all that is downloaded for one.
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "config.json",
)


T = TypeVar("T", bound=Tokenizer)


@dataclass(frozen=True)
class Files:
    """The files of a tokenizer's folder, parsed; {} for small ones that are not there. Or what a GGUF file has of them."""

    folder: Path
    settings: dict[str, Any]
    special_tokens_map: dict[str, Any]
    added_tokens: dict[str, Any]
    model: dict[str, Any]
    built: Backend | None = None  # of a GGUF file, which has no tokenizer.json

    @cached_property
    def tokenizer_json(self) -> Backend | None:
        """The library's tokenizer of tokenizer.json, for one tokenizer to take over; None without that file."""
        if self.built is not None:
            return self.built
        path = self.folder / "tokenizer.json"
        return read_backend(path) if path.is_file() else None


def find_folder(
    name: str | Path,
    revision: str | None,
    token: str | bool | None,
    local_files_only: bool,
    cache_dir: str | Path | None,
    subfolder: str = "",
    *more: str,
) -> Path:
    """The folder of a tokenizer, downloaded where `name` is a hub id; `more` are further patterns to download."""
    inner = subfolder.strip("/")
    prefix = f"{inner}/" if inner else ""
    folder = resolve(
        name,
        files=[*(prefix + file for file in FILES), *more],
        revision=revision,
        token=token,
        local_files_only=local_files_only,
        cache_dir=cache_dir,
    )
    if not (folder / inner).is_dir() and not (is_gguf(folder) and not inner):
        raise CheckpointError(f'"{name}" has no subfolder "{inner}": pass one that it has.')
    return folder / inner


def read_files(folder: Path) -> Files:
    """The small files of a folder, or a GGUF file's tokenizer. Raises CheckpointError where one is broken."""
    if is_gguf(folder):
        from conjoin.gguf.header import read_header
        from conjoin.gguf.tokenizer import tokenizer_of

        built, settings = tokenizer_of(read_header(folder))
        return Files(folder, settings, {}, {}, {}, built)
    return Files(
        folder,
        _read_json(folder / "tokenizer_config.json"),
        _read_json(folder / "special_tokens_map.json"),
        _read_json(folder / "added_tokens.json"),
        _read_json(folder / "config.json"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'"{path}" is broken ({error}): copy it again from where it came.') from error
    if not isinstance(found, dict):
        raise CheckpointError(f'"{path}" holds a {type(found).__name__}, and a JSON object was expected.')
    return found


def open_tokenizer(
    cls: type[T],
    files: Files,
    overrides: Mapping[str, Any],
    *,
    name_or_path: str,
    class_name: str | None = None,
    input_names: Sequence[str] | None = None,
) -> T:
    """Builds a `cls` from its folder's files and the caller's settings; see `Tokenizer.from_pretrained`.

    `class_name` is what a saved copy shall name as its class, and `input_names` what a call returns by default.
    """
    refuse_unknown(f"{cls.__name__}.from_pretrained()", overrides, OVERRIDES)
    values, added = _merge(files, overrides)
    asked = set(overrides)
    backend = _read_backend(cls, files, values)
    _add_tokens(backend, added, files.folder)
    _take_over_baked(backend, values, named=bool(cls.special_defaults))
    special = _special_tokens(cls, backend, values, asked, files.folder)
    extra = _extra_tokens(backend, values, asked, files.folder)
    cls.arrange(backend, values, special, ready=files.tokenizer_json is not None, asked=asked)
    if not cls.kind:
        _apply_overrides(backend, overrides)
    _refuse_idle(backend, overrides)
    backend.encode_special_tokens = bool(values.get("split_special_tokens", False))
    settings = Settings(
        special=special,
        extra=extra,
        model_max_length=values.get("model_max_length", NO_LENGTH_LIMIT),
        padding_side=values.get("padding_side", "right"),
        truncation_side=values.get("truncation_side", "right"),
        model_input_names=tuple(values.get("model_input_names", input_names or cls.input_names)),
        clean_up_tokenization_spaces=values.get("clean_up_tokenization_spaces", False),
        tokenizer_class=class_name or (cls.__name__ if cls.kind else Settings.tokenizer_class),
        name_or_path=name_or_path,
    )
    return cls(backend, settings)


def _merge(files: Files, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[int, AddedToken]]:
    """The settings, and the added tokens by id, of all files; the caller's win, as in transformers.

    Where tokenizer_config.json lists the added tokens, special_tokens_map.json and added_tokens.json, which are older,
    are not read.
    """
    folder = files.folder
    values = read_settings(files.settings, f'"{folder / "tokenizer_config.json"}"', CheckpointError)
    if files.tokenizer_json is not None:
        values.pop("add_bos_token", None)  # tokenizer.json says it already, in its post-processor
    asked = read_settings(overrides, "from_pretrained()", InputError)
    listed = files.settings.get("added_tokens_decoder")
    try:
        if listed is not None:
            added = {int(index): added_token(token, special=False) for index, token in listed.items()}
            return values | asked, added
        values |= read_settings(files.special_tokens_map, f'"{folder / "special_tokens_map.json"}"', CheckpointError)
        values |= asked
        known = {content(values[name]) for name in SPECIAL_TOKENS if values.get(name) is not None}
        known |= {content(token) for token in values.get("additional_special_tokens", ())}
        added = {
            int(index): AddedToken(token, special=token in known, normalized=token not in known)
            for token, index in files.added_tokens.items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConjoinError):
            raise
        raise CheckpointError(f'The added tokens of "{folder}" are broken ({error}): copy its files again.') from error
    return values, added


def _read_backend(cls: type[Tokenizer], files: Files, values: Mapping[str, Any]) -> Backend:
    """The library's tokenizer: of tokenizer.json, or else of the class's own files."""
    folder = files.folder
    backend = files.tokenizer_json
    if backend is None:
        unk = values.get("unk_token", cls.special_defaults.get("unk_token"))
        found = cls.from_vocabulary_files(folder, "" if unk is None else content(unk))
        if found is None:
            kinds = {"WordPiece": " and no vocab.txt", "BPE": " and no vocab.json with merges.txt"}
            raise CheckpointError(
                f'"{folder}" has no tokenizer.json{kinds.get(cls.kind or "", "")}, which {cls.__name__} is read from: '
                "save the tokenizer there with save_pretrained (a fast one, in transformers)."
            )
        return found
    if cls.kind not in (None, model_kind(backend)):
        raise CheckpointError(
            f'"{folder / "tokenizer.json"}" holds a {model_kind(backend)} tokenizer, and {cls.__name__} is {cls.kind}: '
            "open it with AutoTokenizer."
        )
    return backend


def _add_tokens(backend: Backend, added: Mapping[int, AddedToken], folder: Path) -> None:
    """Adds the folder's added tokens in the order of their ids, and sees that each gets the id that it had."""
    present = backend.get_added_tokens_decoder()
    for index, token in sorted(added.items()):
        if present.get(index) == token:
            continue
        backend.add_tokens([token])
        got = backend.token_to_id(token.content)
        if got != index:
            raise CheckpointError(
                f'"{folder}" gives the added token "{token.content}" the id {index}, and its vocabulary has {got}: '
                "its files do not belong together."
            )


def _take_over_baked(backend: Backend, values: dict[str, Any], *, named: bool) -> None:
    """Sides and pad token that a tokenizer.json may hold; its lengths are for the call to say."""
    if backend.padding is not None:
        values.setdefault("padding_side", backend.padding["direction"].lower())
        if not named:  # a class with special tokens of its own knows whether it has one to pad with
            values.setdefault("pad_token", backend.padding["pad_token"])
    if backend.truncation is not None:
        values.setdefault("truncation_side", backend.truncation["direction"].lower())


def _special_tokens(
    cls: type[Tokenizer], backend: Backend, values: Mapping[str, Any], asked: set[str], folder: Path
) -> dict[str, str]:
    """The named special tokens, each of them known to the library as one.

    A token that the caller names is added where the vocabulary lacks it; one that the folder names must be there; a
    class's own default that is not there is left unset. (transformers adds all three, and the model has no embedding.)
    """
    special = {}
    for name in SPECIAL_TOKENS:
        token = values.get(name, cls.special_defaults.get(name))
        if token is None:
            continue
        text = content(token)
        if backend.token_to_id(text) is None and name not in asked:
            if name not in values:
                continue
            raise CheckpointError(_not_there(folder, name, text))
        _register(backend, [token])
        special[name] = text
    return special


def _extra_tokens(backend: Backend, values: Mapping[str, Any], asked: set[str], folder: Path) -> list[str]:
    """The special tokens without a name; see `_special_tokens`."""
    name = "additional_special_tokens"
    for token in values.get(name, ()):
        if backend.token_to_id(content(token)) is None and not asked & {name, "extra_special_tokens"}:
            raise CheckpointError(_not_there(folder, name, content(token)))
    _register(backend, values.get(name, ()))
    return [content(token) for token in values.get(name, ())]


def _not_there(folder: Path, name: str, text: str) -> str:
    return (
        f'The {name} "{text}" of "{folder}" is not in its vocabulary: pass {name}= with a token that is, '
        f"or {name}={'[]' if name.endswith('s') else 'None'} to do without."
    )


def _register(backend: Backend, tokens: Iterable[str | AddedToken]) -> None:
    """Makes tokens special to the library, those that are no added tokens already."""
    # Looked up once for all of them: a Gemma has six thousand.
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_special_tokens([added_token(token, special=True) for token in tokens if content(token) not in known])


def _apply_overrides(backend: Backend, overrides: Mapping[str, Any]) -> None:
    """What a caller may change of a tokenizer.json that belongs to none of our classes; all else stays as it is."""
    if "add_prefix_space" in overrides:
        set_add_prefix_space(backend, bool(overrides["add_prefix_space"]))
    if overrides.keys() & {"do_lower_case", "strip_accents", "tokenize_chinese_chars"}:
        set_bert_normalizer(backend, effective_options(backend) | dict(overrides))


def _refuse_idle(backend: Backend, overrides: Mapping[str, Any]) -> None:
    """Raises InputError for a setting that this tokenizer has no part to obey with."""
    bert = isinstance(backend.normalizer, normalizers.BertNormalizer)
    byte_level = isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel)
    for name, obeyed in (
        ("do_lower_case", bert),
        ("strip_accents", bert),
        ("add_prefix_space", byte_level),
        ("add_bos_token", model_kind(backend) == "BPE"),
    ):
        if overrides.get(name) and not obeyed:
            raise InputError(
                f"{name}={overrides[name]!r} has no effect on this {model_kind(backend)} tokenizer: leave it out."
            )
