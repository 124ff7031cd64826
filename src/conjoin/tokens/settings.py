"""The settings of a tokenizer_config.json, or of a caller: which there are, and what values they may have."""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken

from conjoin.errors import ConjoinError
from conjoin.tokens.plan import NO_LENGTH_LIMIT, SIDES
from conjoin.tokens.special import SPECIAL_TOKENS, added_token, content

__all__ = ["OVERRIDES", "read_settings"]

_FLAGS = (
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "trim_offsets",
    "add_bos_token",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)
_SIDES = ("padding_side", "truncation_side")
_LISTS = ("additional_special_tokens", "extra_special_tokens")

# What scripts pass to transformers and what has no meaning here: there are only fast tokenizers, errors in bytes are
# always replaced, and no code is ever run from a folder.
_IGNORED = ("use_fast", "errors", "trust_remote_code")

OVERRIDES = (*SPECIAL_TOKENS, *_LISTS, *_FLAGS, *_SIDES, "model_max_length", "model_input_names", *_IGNORED)


def read_settings(given: Mapping[str, Any], where: str, error: type[ConjoinError]) -> dict[str, Any]:
    """The settings in `given` that mean something here, checked; a null counts only for a special token.

    Extra special tokens come under "additional_special_tokens" alone. Raises `error` for a value that cannot be.
    """
    values: dict[str, Any] = {}
    for name in (*SPECIAL_TOKENS, *_FLAGS, *_SIDES):
        if name in given and (given[name] is not None or name in SPECIAL_TOKENS):
            values[name] = _checked(name, given[name], where, error)
    length = given.get("model_max_length", given.get("max_len"))
    if length is not None:
        values["model_max_length"] = _length(length, where, error)
    names = given.get("model_input_names")
    if names is not None:
        values["model_input_names"] = _names(names, where, error)
    # Both names may be there; transformers takes the newer one, unless it is empty.
    extra = given.get("extra_special_tokens") or given.get("additional_special_tokens")
    if extra is not None or any(name in given for name in _LISTS):
        values["additional_special_tokens"] = _tokens(extra or [], where, error)
    return values


def _checked(name: str, value: Any, where: str, error: type[ConjoinError]) -> Any:
    if name in SPECIAL_TOKENS:
        return value if value is None else _token(name, value, where, error)
    if name in _FLAGS and isinstance(value, bool):
        return value
    if name in _SIDES and value in SIDES:
        return value
    wanted = "true or false" if name in _FLAGS else '"right" or "left"'
    raise error(f"{where} has {name}={value!r:.80}, and {wanted} was expected.")


def _token(name: str, value: Any, where: str, error: type[ConjoinError]) -> str | AddedToken:
    if isinstance(value, (str, AddedToken)) and content(value):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("content"), str) and value["content"]:
        try:
            return added_token(value, special=True)
        except TypeError:
            pass  # a field that no token has: the sentence below says so
    raise error(f"{where} has {name}={value!r:.80}, and a token was expected: a text that is not empty.")


def _tokens(values: Any, where: str, error: type[ConjoinError]) -> list[str | AddedToken]:
    if isinstance(values, Mapping):  # transformers names them by what they are for: {"image_token": "<image>"}
        values = list(values.values())
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise error(f"{where} has additional_special_tokens={values!r:.80}, and a list of tokens was expected.")
    return [_token("additional_special_tokens", value, where, error) for value in values]


def _length(value: Any, where: str, error: type[ConjoinError]) -> int:
    """A length in tokens; 1e30, infinite and the like are no limit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
        raise error(f"{where} has model_max_length={value!r:.80}, and a positive number of tokens was expected.")
    return NO_LENGTH_LIMIT if value > 1e20 else int(value)


def _names(values: Any, where: str, error: type[ConjoinError]) -> list[str]:
    known = ("input_ids", "token_type_ids", "attention_mask")
    if not isinstance(values, (list, tuple)) or "input_ids" not in values or not set(values) <= set(known):
        raise error(
            f"{where} has model_input_names={values!r:.80}, and a list of input_ids and its masks was expected."
        )
    return list(values)
