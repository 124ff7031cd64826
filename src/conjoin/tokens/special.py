"""The special tokens of a tokenizer as attributes: `pad_token`, `pad_token_id` and the like, to read and to set."""

from collections.abc import Mapping
from typing import Any, Protocol

from tokenizers import AddedToken

from conjoin.errors import InputError, refuse_unknown

__all__ = ["SPECIAL_TOKENS", "SpecialToken", "SpecialTokenId", "added_token", "content"]

# In transformers' order, which all_special_tokens and special_tokens_map keep.
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class _Owner(Protocol):
    """What these attributes need of the tokenizer that they belong to."""

    _special: dict[str, str]

    def _id_of(self, token: str) -> int | None: ...

    def convert_ids_to_tokens(self, ids: Any) -> Any: ...


class SpecialToken:
    """An attribute such as `pad_token`: the token's text, or None. Setting it to None forgets it.

    Raises InputError where the token is not in the vocabulary: its id would be the unknown token's, and wrong.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: _Owner, owner: type | None = None) -> str | None:
        return tokenizer._special.get(self.name)

    def __set__(self, tokenizer: _Owner, token: str | AddedToken | None) -> None:
        if token is None:
            tokenizer._special.pop(self.name, None)
            return
        text = content(token)
        if tokenizer._id_of(text) is None:
            raise InputError(
                f'{self.name} = "{text}" is not in the vocabulary: '
                f'add it with add_special_tokens({{"{self.name}": "{text}"}}), and resize the model\'s embeddings.'
            )
        tokenizer._special[self.name] = text


class SpecialTokenId:
    """An attribute such as `pad_token_id`: the token's id, or None. Setting it sets the token."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: _Owner, owner: type | None = None) -> int | None:
        token = tokenizer._special.get(self.name)
        return None if token is None else tokenizer._id_of(token)

    def __set__(self, tokenizer: _Owner, token_id: int | None) -> None:
        if token_id is None:
            tokenizer._special.pop(self.name, None)
        else:
            tokenizer._special[self.name] = tokenizer.convert_ids_to_tokens(token_id)


def content(token: str | AddedToken) -> str:
    """A token's text. Raises InputError for what is no token."""
    if not isinstance(token, (str, AddedToken)):
        raise InputError(f"A token is a str or a tokenizers.AddedToken, and {type(token).__name__} {token!r} came.")
    return token if isinstance(token, str) else token.content


def added_token(token: str | AddedToken | Mapping[str, Any], *, special: bool) -> AddedToken:
    """An AddedToken of a text, of one that is ready, or of its dict in a tokenizer's JSON files.

    Raises TypeError for what does not describe a token.
    """
    if isinstance(token, str):
        return AddedToken(token, special=special)
    fields = token.__getstate__() if isinstance(token, AddedToken) else token
    kept = {key: value for key, value in fields.items() if key not in ("__type", "id", "special")}
    # The library prints a line for a name that it does not know, and goes on.
    refuse_unknown("AddedToken()", kept, ("content", "single_word", "lstrip", "rstrip", "normalized"))
    return AddedToken(**kept, special=bool(special or fields.get("special", False)))
