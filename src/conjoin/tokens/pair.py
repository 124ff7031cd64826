"""The two tokenizers of a sequence-to-sequence model, and what the library asks of any tokenizer."""

# ruff: noqa: D102 - the members of TokenizerLike are documented at Tokenizer

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from conjoin.checkpoint import TARGET_FOLDER
from conjoin.errors import CheckpointError, InputError
from conjoin.tokens.auto import open_auto
from conjoin.tokens.loading import FILES, find_folder
from conjoin.tokens.tokenizer import Tokenizer

__all__ = ["TARGET_FOLDER", "TokenizerLike", "TokenizerPair", "as_tokenizer"]


class TokenizerLike(Protocol):
    """What the library uses of a tokenizer: its own has it, and so has one of transformers'."""

    model_max_length: int
    padding_side: str

    @property
    def pad_token_id(self) -> Any: ...
    @property
    def bos_token_id(self) -> Any: ...
    @property
    def eos_token_id(self) -> Any: ...
    @property
    def cls_token_id(self) -> Any: ...
    @property
    def sep_token_id(self) -> Any: ...
    def __call__(
        self,
        text: Any = None,
        /,
        *,
        text_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
    ) -> Any: ...
    def __len__(self) -> int: ...
    def decode(self, token_ids: Any, /, skip_special_tokens: bool = False) -> Any: ...
    def batch_decode(self, sequences: Any, /, skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: Any, /) -> Any: ...
    def convert_tokens_to_ids(self, tokens: Any, /) -> Any: ...
    def get_vocab(self) -> dict[str, int]: ...
    def save_pretrained(self, folder: Any, /) -> Any: ...


@runtime_checkable
class _TokenizerMethods(Protocol):
    """The methods of TokenizerLike. Its attributes are left out: Python looks for a protocol's members without asking
    the object's __getattr__, from which transformers serves its special tokens."""

    def __call__(self) -> Any: ...
    def __len__(self) -> int: ...
    def decode(self, token_ids: Any, /, skip_special_tokens: bool = False) -> Any: ...
    def batch_decode(self, sequences: Any, /, skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: Any, /) -> Any: ...
    def convert_tokens_to_ids(self, tokens: Any, /) -> Any: ...
    def get_vocab(self) -> dict[str, int]: ...
    def save_pretrained(self, folder: Any, /) -> Any: ...


def as_tokenizer(tokenizer: object) -> TokenizerLike:
    """`tokenizer` itself, where it is one: ours, or transformers'. Raises InputError otherwise."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if isinstance(tokenizer, type) or not isinstance(tokenizer, _TokenizerMethods):
        raise InputError(
            f"A tokenizer was expected, and {type(tokenizer).__name__} {tokenizer!r:.80} came: "
            "pass AutoTokenizer.from_pretrained(folder or hub id)."
        )
    like: Any = tokenizer
    return like  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TokenizerPair:
    """The tokenizer of the encoder's texts and that of the decoder's; often one and the same object."""

    source: TokenizerLike
    target: TokenizerLike

    @property
    def same(self) -> bool:
        """Whether both make the same ids of the same texts: one object, or two of ours that are equal in all."""
        if self.source is self.target:
            return True
        if not isinstance(self.source, Tokenizer) or not isinstance(self.target, Tokenizer):
            return False
        return _identity(self.source) == _identity(self.target)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
    ) -> "TokenizerPair":
        """Opens the tokenizer at the root of a folder or hub id, and that in target_tokenizer/ where there is one.

        Raises CheckpointError as `Tokenizer.from_pretrained` does.
        """
        folder = find_folder(name, revision, token, local_files_only, cache_dir, "", f"{TARGET_FOLDER}/*")
        source = open_auto(folder, {}, name_or_path=str(name))
        if not (folder / TARGET_FOLDER).is_dir():
            return cls(source, source)
        return cls(source, open_auto(folder / TARGET_FOLDER, {}, name_or_path=f"{name}/{TARGET_FOLDER}"))

    def save_pretrained(self, folder: str | Path) -> None:
        """Saves the source at the folder's root, and the target in target_tokenizer/ unless both are the same.

        A target_tokenizer/ of an earlier save is emptied of its tokenizer files then, and would otherwise be read
        back. Raises CheckpointError where nothing can be written.
        """
        folder = Path(folder)
        self.source.save_pretrained(folder)
        if self.same:
            _remove_target(folder / TARGET_FOLDER)
        else:
            self.target.save_pretrained(folder / TARGET_FOLDER)


def _identity(tokenizer: Tokenizer) -> tuple[object, ...]:
    settings = tokenizer.settings()
    settings.name_or_path = ""
    return tokenizer.backend_tokenizer.to_str(), settings.__dict__


def _remove_target(folder: Path) -> None:
    if not folder.is_dir():
        return
    try:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise CheckpointError(f'The old "{folder}" could not be removed ({error.strerror}).') from error
