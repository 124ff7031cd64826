"""The vocabulary of a tokenizer: its tokens and special tokens, their ids, and the way from ids to text."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from tokenizers import AddedToken

from conjoin.errors import InputError, refuse_unknown
from conjoin.tokens.backend import Backend, model_kind
from conjoin.tokens.encoding import as_ids
from conjoin.tokens.inputs import clean_up
from conjoin.tokens.special import SPECIAL_TOKENS, SpecialToken, SpecialTokenId, added_token, content

__all__ = ["Vocabulary"]


class Vocabulary:
    """What a tokenizer knows without any text: see Tokenizer, which adds the way from texts to ids."""

    bos_token = SpecialToken()
    eos_token = SpecialToken()
    unk_token = SpecialToken()
    sep_token = SpecialToken()
    pad_token = SpecialToken()
    cls_token = SpecialToken()
    mask_token = SpecialToken()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    unk_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()

    def __init__(self, backend: Backend, special: Mapping[str, str], extra: Sequence[str]) -> None:
        backend.no_padding()
        backend.no_truncation()
        self._backend = backend
        self._lock = Lock()
        self._special = dict(special)
        self._extra = list(extra)
        self.clean_up_tokenization_spaces = False

    # -- ids to texts --------------------------------------------------------------------------------------------

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> Any:
        """The text of a row of ids (an int, a list, any framework's array), or the texts of rows of them.

        `clean_up_tokenization_spaces` takes the space from before punctuation; byte-level BPE, where every space is
        the text's own, ignores it as transformers does. Raises InputError for an id outside the vocabulary, such as
        the -100 of labels.
        """
        ids = as_ids(token_ids)
        clean = clean_up_tokenization_spaces
        if isinstance(ids, int):
            return self._decode_row([ids], skip_special_tokens, clean)
        if ids and isinstance(ids[0], list):
            return [self._decode_row(row, skip_special_tokens, clean) for row in ids]
        return self._decode_row(ids, skip_special_tokens, clean)

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """The texts of rows of ids, shape (batch, length) or a list of rows; see `decode`."""
        ids = as_ids(sequences)
        texts = self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) if ids != [] else []
        return texts if isinstance(texts, list) else [texts]

    def _decode_row(self, ids: list[int], skip_special_tokens: bool, clean: bool | None) -> str:
        self._check_ids(ids)
        text: str = self._backend.decode(ids, skip_special_tokens=skip_special_tokens)
        wanted = self.clean_up_tokenization_spaces if clean is None else clean
        return clean_up(text) if wanted and model_kind(self._backend) != "BPE" else text

    def _check_ids(self, ids: Sequence[int]) -> None:
        for token_id in set(ids):
            if not 0 <= token_id < 2**32 or self._backend.id_to_token(token_id) is None:
                hint = (
                    ": -100 marks places that the loss skips; replace it by the pad id first."
                    if token_id == -100
                    else "."
                )
                raise InputError(f"Token id {token_id} is not in the vocabulary of {len(self)} tokens{hint}")

    # -- the vocabulary ------------------------------------------------------------------------------------------

    def _id_of(self, token: str) -> int | None:
        found: int | None = self._backend.token_to_id(token)
        return found

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or of each: the unknown token's (None without one) where the vocabulary lacks it."""
        if isinstance(tokens, str):
            found = self._id_of(tokens)
            return self.unk_token_id if found is None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each. Raises InputError for an id outside the vocabulary."""
        row = as_ids(ids)
        self._check_ids([row] if isinstance(row, int) else row)
        if isinstance(row, int):
            return self._backend.id_to_token(row)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._backend.id_to_token(token_id) for token_id in row if token_id not in skipped]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens joined to a text, as `decode` joins them."""
        text: str = " ".join(tokens) if self._backend.decoder is None else self._backend.decoder.decode(tokens)
        return text

    def __len__(self) -> int:
        """How many tokens there are, added ones included: what the model's embeddings must hold."""
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """How many tokens there are without the added ones."""
        return int(self._backend.get_vocab_size(with_added_tokens=False))

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id, added tokens included."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    @property
    def vocab(self) -> dict[str, int]:
        """`get_vocab()`."""
        return self.get_vocab()

    def get_added_vocab(self) -> dict[str, int]:
        """The added tokens and their ids, in the order of ids."""
        return {token.content: token_id for token_id, token in sorted(self.added_tokens_decoder.items())}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id."""
        return dict(self._backend.get_added_tokens_decoder())

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of added tokens; `get_added_vocab()`."""
        return self.get_added_vocab()

    @property
    def backend_tokenizer(self) -> Backend:
        """The `tokenizers` library's tokenizer: settings made on it do not last over the next call."""
        return self._backend

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a text, or a pair, gets."""
        return int(self._backend.num_special_tokens_to_add(pair))

    def get_special_tokens_mask(
        self, token_ids_0: Any, token_ids_1: Any = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 for each special token among the ids of a row, 0 for others. Raises InputError for ids without special tokens."""
        if token_ids_1 is not None or not already_has_special_tokens:
            raise InputError(
                "get_special_tokens_mask reads one row of ids that has its special tokens, with "
                "already_has_special_tokens=True; of texts, call the tokenizer with return_special_tokens_mask=True."
            )
        special = set(self.all_special_ids)
        return [int(token_id in special) for token_id in as_ids(token_ids_0)]

    # -- special tokens ------------------------------------------------------------------------------------------

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The named special tokens that are set, such as {"pad_token": "[PAD]"}."""
        return {name: self._special[name] for name in SPECIAL_TOKENS if name in self._special}

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name; transformers 5 calls them extra_special_tokens."""
        return list(self._extra)

    @property
    def extra_special_tokens(self) -> list[str]:
        """`additional_special_tokens`."""
        return list(self._extra)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once: the named ones in transformers' order, then the others."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self._extra]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_extra_special_tokens: bool = True
    ) -> int:
        """Names special tokens, {"pad_token": "[PAD]", "additional_special_tokens": [...]}, adding what is new.

        Returns how many tokens were added; resize the model's embeddings to `len(tokenizer)` after that.
        """
        extra_names = ("additional_special_tokens", "extra_special_tokens")
        refuse_unknown("add_special_tokens()", special_tokens_dict, [*SPECIAL_TOKENS, *extra_names])
        added = 0
        for name, value in special_tokens_dict.items():
            if name in SPECIAL_TOKENS:
                added += self.add_tokens(value, special_tokens=True)
                self._special[name] = content(value)
            else:
                added += self.add_tokens(list(value), special_tokens=True)
                kept = [] if replace_extra_special_tokens else self._extra
                self._extra = list(dict.fromkeys([*kept, *(content(token) for token in value)]))
        return added

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Adds a token, or a list of them, at the end of the vocabulary; returns how many were new."""
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else list(new_tokens)
        ready = [
            added_token(token, special=special_tokens) if special_tokens or isinstance(token, AddedToken) else token
            for token in tokens
            if content(token)
        ]
        with self._lock:
            add = self._backend.add_special_tokens if special_tokens else self._backend.add_tokens
            return int(add(ready))
