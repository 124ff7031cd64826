"""The tokenizer itself: texts to ids and back, with transformers' calls and results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Self

from tokenizers import Encoding

from conjoin.errors import InputError
from conjoin.tokens.backend import Backend, backend_errors
from conjoin.tokens.encoding import BatchEncoding, kind_of, to_tensors
from conjoin.tokens.inputs import prepare
from conjoin.tokens.plan import NO_LENGTH_LIMIT, Plan, check_side, pad_rows, plan
from conjoin.tokens.vocabulary import Vocabulary

__all__ = ["Settings", "Tokenizer"]

# The keys of a call's result, in transformers' order, and where they are read.
_READERS: dict[str, Callable[[Encoding], Any]] = {
    "input_ids": lambda row: row.ids,
    "token_type_ids": lambda row: row.type_ids,
    "attention_mask": lambda row: row.attention_mask,
    "special_tokens_mask": lambda row: row.special_tokens_mask,
    "offset_mapping": lambda row: row.offsets,
    "length": lambda row: len(row.ids),
}


@dataclass
class Settings:
    """What a tokenizer is told beside its vocabulary: a tokenizer_config.json, checked."""

    special: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    model_max_length: int = NO_LENGTH_LIMIT
    padding_side: str = "right"
    truncation_side: str = "right"
    model_input_names: tuple[str, ...] = ("input_ids", "attention_mask")
    clean_up_tokenization_spaces: bool = False
    tokenizer_class: str = "PreTrainedTokenizerFast"
    name_or_path: str = ""


class Tokenizer(Vocabulary):
    """Texts to ids and back, over the `tokenizers` library; a call's results equal transformers' fast tokenizers'.

    Safe to share between threads: a call sets what it needs of the library's tokenizer under a lock, and leaves it
    without padding and truncation.
    """

    # What a class of tokenizers is; the subclasses in classes.py say otherwise.
    kind: ClassVar[str | None] = None
    special_defaults: ClassVar[Mapping[str, str]] = {}
    input_names: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")

    is_fast = True
    pad_token_type_id = 0

    def __init__(self, backend: Backend, settings: Settings | None = None) -> None:
        """A tokenizer around one of the `tokenizers` library, which it takes over; mostly, call `from_pretrained`.

        Without `settings` it has the class's special tokens, as far as the vocabulary has them.
        """
        if not isinstance(backend, Backend):
            raise InputError(
                f"{type(self).__name__} was given {backend!r}; open a folder with its vocabulary: "
                f"{type(self).__name__}.from_pretrained(folder)."
            )
        settings = settings or self._default_settings(backend)
        super().__init__(backend, settings.special, settings.extra)
        self.model_max_length = settings.model_max_length
        self.padding_side = settings.padding_side
        self.truncation_side = settings.truncation_side
        self.model_input_names = list(settings.model_input_names)
        self.clean_up_tokenization_spaces = settings.clean_up_tokenization_spaces
        self.tokenizer_class = settings.tokenizer_class
        self.name_or_path = settings.name_or_path

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        subfolder: str = "",
        **overrides: Any,
    ) -> Self:
        """Opens the tokenizer of a folder or a hub id: tokenizer.json, or vocab.txt, or vocab.json and merges.txt.

        `overrides` are settings that a tokenizer_config.json may hold (`pad_token`, `model_max_length`,
        `do_lower_case`, `add_prefix_space`...); they win over the folder's. A special token given here that the
        vocabulary lacks is added to it, and the model's embeddings must then be resized.

        Raises CheckpointError for a missing, broken or unfitting folder, InputError for an impossible override, and
        TypeError for an unknown one.
        """
        from conjoin.tokens.loading import find_folder, open_tokenizer, read_files

        folder = find_folder(pretrained_model_name_or_path, revision, token, local_files_only, cache_dir, subfolder)
        return open_tokenizer(cls, read_files(folder), overrides, name_or_path=str(pretrained_model_name_or_path))

    @classmethod
    def _default_settings(cls, backend: Backend) -> Settings:
        defaults = cls.special_defaults.items()
        return Settings(
            special={name: token for name, token in defaults if backend.token_to_id(token) is not None},
            model_input_names=cls.input_names,
            tokenizer_class=cls.__name__ if cls.kind else Settings.tokenizer_class,
        )

    @classmethod
    def from_vocabulary_files(cls, folder: Path, unk_token: str) -> Backend | None:
        """The library's tokenizer of the class's own files in a folder, or None where they are not there."""
        return None

    @classmethod
    def arrange(
        cls, backend: Backend, values: Mapping[str, Any], special: Mapping[str, str], *, ready: bool, asked: set[str]
    ) -> None:
        """Sets what the class sets: normalizer, prefix space and post-processor.

        `values` are the settings, folder's and caller's; `asked` the names that the caller gave; `ready` says that
        the parts came from a tokenizer.json.
        """

    # -- texts to ids --------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: str | Sequence[Any] | None = None,
        text_pair: str | Sequence[Any] | None = None,
        text_target: str | Sequence[Any] | None = None,
        text_pair_target: str | Sequence[Any] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        max_target_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Ids and masks of one text (flat lists) or of a list of texts (lists of lists), or pairs of texts.

        With `return_tensors` ("pt", "np", "tf", "jax") every value has shape (batch, length), batch 1 for one text.
        `text_target` alone is encoded like `text`; beside `text`, its ids come as `labels`. Padding takes pad_token,
        or eos_token where there is none (GPT-2): either way the attention mask is 0 there. Nothing is cut unless
        `truncation` or `max_length` asks for it; with `return_overflowing_tokens` what is cut off comes as more rows, of which
        neighbours share `stride` tokens, and `overflow_to_sample_mapping` says whose each row is.

        Raises InputError for what is no text, unknown modes, lengths that cannot be met, and padding without a token.
        """
        if text is None and text_target is None:
            raise InputError("Nothing to tokenize: pass text, or text_target.")
        keys = self._keys(
            token_type_ids=return_token_type_ids,
            attention_mask=return_attention_mask,
            special_tokens_mask=return_special_tokens_mask,
            offset_mapping=return_offsets_mapping,
            length=return_length,
        )

        def encode(one: str | Sequence[Any], other: str | Sequence[Any] | None, limit: int | None) -> BatchEncoding:
            how = plan(
                padding,
                truncation,
                limit,
                pad_to_multiple_of,
                padding_side or self.padding_side,
                self.model_max_length,
                verbose=verbose,
            )
            texts, batched = prepare(one, other, is_split_into_words)
            rows = self._encode(texts, how, add_special_tokens, is_split_into_words, stride)
            if return_overflowing_tokens:
                return _gather_all(rows, keys, return_tensors)
            return _gather(rows, keys, batched, return_tensors)

        encoded = encode(text, text_pair, max_length) if text is not None else None
        if text_target is None:
            assert encoded is not None
            return encoded
        targets = encode(text_target, text_pair_target, max_target_length or max_length)
        if encoded is None:
            return targets
        encoded["labels"] = targets["input_ids"]
        return encoded

    def _keys(self, **wanted: bool | None) -> list[str]:
        return ["input_ids"] + [
            key for key, want in wanted.items() if (key in self.model_input_names if want is None else want)
        ]

    def _encode(self, texts: list[Any], how: Plan, special: bool, is_split: bool, stride: int = 0) -> list[Encoding]:
        """The library's encodings, with padding and truncation set for this call only."""
        if how.truncation is not None:
            self._check_room(texts, how, special)
        with self._lock, backend_errors(lambda message: InputError(f"The texts could not be encoded: {message}.")):
            try:
                if how.truncation is not None and how.max_length is not None:
                    self._backend.enable_truncation(
                        how.max_length, stride=stride, strategy=how.truncation, direction=self.truncation_side
                    )
                if how.padding is not None:
                    pad_token, pad_id = self._padding_token()
                    self._backend.enable_padding(
                        direction=how.padding_side,
                        pad_id=pad_id,
                        pad_token=pad_token,
                        length=how.max_length if how.padding == "max_length" else None,
                        pad_to_multiple_of=how.pad_to_multiple_of,
                    )
                return list(self._backend.encode_batch(texts, add_special_tokens=special, is_pretokenized=is_split))
            finally:
                self._backend.no_truncation()
                self._backend.no_padding()

    def _check_room(self, texts: list[Any], how: Plan, special: bool) -> None:
        """The library does not cut at all where the special tokens alone are too long; that would pass silently."""
        is_pair = any(isinstance(text, tuple) for text in texts)
        needed = self._backend.num_special_tokens_to_add(is_pair) if special else 0
        if how.max_length is not None and how.max_length < needed:
            raise InputError(
                f"max_length={how.max_length} has no room for the {needed} special tokens: pass a larger one, or "
                "add_special_tokens=False."
            )

    def _padding_token(self) -> tuple[str, int]:
        """The token to pad with and its id: eos where there is no pad token, which the attention mask hides."""
        for token in (self.pad_token, self.eos_token):
            if token is not None:
                token_id = self._id_of(token)
                assert token_id is not None
                return token, token_id
        raise InputError(
            "Padding was asked for, and the tokenizer has neither a pad_token nor an eos_token: "
            "set tokenizer.pad_token to a token of its vocabulary."
        )

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any) -> Any:
        """The input_ids of a call; `options` are the call's."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **options)["input_ids"]

    def encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """A call, by transformers 4's name for one of one text."""
        return self(text, text_pair, **options)

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[Any], **options: Any) -> BatchEncoding:
        """A call, by transformers 4's name for one of many texts, or of pairs as tuples."""
        return self(batch_text_or_text_pairs, **options)

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """The tokens of a text, or of a pair of texts."""
        return self(text, pair, add_special_tokens=add_special_tokens).tokens()

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pads what was encoded before: one encoding, a dict of lists, or a list of dicts (a data loader's examples).

        input_ids and the masks beside it are padded, every other key is kept as it is. Tensors in, tensors out.
        Raises InputError where input_ids is missing, rows differ in their keys, or there is no token to pad with.
        """
        features = _as_columns(encoded_inputs)
        how = plan(
            padding,
            False,
            max_length,
            pad_to_multiple_of,
            padding_side or self.padding_side,
            self.model_max_length,
            verbose=False,
        )
        with_mask = "attention_mask" in self._keys(attention_mask=return_attention_mask)
        pad_id = 0 if how.padding is None else self._padding_token()[1]
        kind = return_tensors or kind_of(features["input_ids"])
        padded = pad_rows(features, how, pad_id, with_mask)
        return BatchEncoding(padded if kind is None else to_tensors(padded, kind))

    # -- the rest ------------------------------------------------------------------------------------------------

    @property
    def padding_side(self) -> str:
        """The side that padding goes to, "right" or "left"."""
        return self._padding_side

    @padding_side.setter
    def padding_side(self, side: str) -> None:
        self._padding_side = check_side("padding_side", side)

    @property
    def truncation_side(self) -> str:
        """The side that truncation cuts, "right" or "left"."""
        return self._truncation_side

    @truncation_side.setter
    def truncation_side(self, side: str) -> None:
        self._truncation_side = check_side("truncation_side", side)

    def save_pretrained(self, save_directory: str | Path) -> tuple[str, ...]:
        """Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json, and returns their paths.

        transformers 4.57 and 5 open the folder with equal results. Raises CheckpointError where it cannot be written.
        """
        from conjoin.tokens.saving import save

        return save(self, Path(save_directory))

    def settings(self) -> Settings:
        """A copy of what the tokenizer is told beside its vocabulary."""
        return Settings(
            special=self.special_tokens_map,
            extra=list(self._extra),
            model_max_length=self.model_max_length,
            padding_side=self.padding_side,
            truncation_side=self.truncation_side,
            model_input_names=tuple(self.model_input_names),
            clean_up_tokenization_spaces=self.clean_up_tokenization_spaces,
            tokenizer_class=self.tokenizer_class,
            name_or_path=self.name_or_path,
        )

    def __getstate__(self) -> dict[str, Any]:
        # A lock cannot be pickled, and processes that share a tokenizer by pickling it each have their own.
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, special_tokens={self.special_tokens_map})"
        )


def _gather(rows: list[Encoding], keys: Sequence[str], batched: bool, return_tensors: str | None) -> BatchEncoding:
    """The encodings as lists, or tensors; flat for one text without tensors, but for `length`, as transformers does."""
    data: dict[str, Any] = {key: [_READERS[key](row) for row in rows] for key in keys}
    if return_tensors is not None:
        data = to_tensors(data, return_tensors)
    elif not batched:
        data = {key: value if key == "length" else value[0] for key, value in data.items()}
    return BatchEncoding(data, rows)


def _gather_all(rows: list[Encoding], keys: Sequence[str], return_tensors: str | None) -> BatchEncoding:
    """The same of all that was cut off too, which is always a batch, with the number of the text that each row is of."""
    pieces = [(i, piece) for i, row in enumerate(rows) for piece in (row, *row.overflowing)]
    found = _gather([piece for _, piece in pieces], keys, True, return_tensors)
    owners: dict[str, Any] = {"overflow_to_sample_mapping": [i for i, _ in pieces]}
    found.update(owners if return_tensors is None else to_tensors(owners, return_tensors))
    return found


def _as_columns(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A dict of lists, of that or of a list of dicts."""
    if not isinstance(encoded, Mapping):
        names = list(encoded[0]) if len(encoded) else ["input_ids"]
        for index, row in enumerate(encoded):
            if set(row) != set(names):
                raise InputError(f"Row {index} has the keys {sorted(row)}, and the first one {sorted(names)}.")
        encoded = {name: [row[name] for row in encoded] for name in names}
    if "input_ids" not in encoded:
        raise InputError(f"pad() needs input_ids, and got {list(encoded)}.")
    return dict(encoded)
