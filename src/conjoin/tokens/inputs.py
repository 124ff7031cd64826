"""Texts on their way into the `tokenizers` library, checked; and texts on their way out, cleaned."""

from collections.abc import Sequence
from typing import Any

from conjoin.errors import InputError

__all__ = ["clean_up", "prepare"]

# What transformers' clean_up_tokenization takes away, in its order.
_PUNCTUATION = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"))
_CONTRACTIONS = ((" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))


def clean_up(text: str) -> str:
    """Takes the space from before punctuation and English contractions."""
    for spaced, joined in (*_PUNCTUATION, *_CONTRACTIONS):
        text = text.replace(spaced, joined)
    return text


def prepare(text: Any, pair: Any, is_split: bool) -> tuple[list[Any], bool]:
    """A list of texts, or of pairs of them (as tuples), and whether a list came in.

    With `is_split` a text is a list of words. Raises InputError for what is neither.
    """
    if isinstance(text, str) if not is_split else _is_words(text):
        _check(text, "text", is_split)
        if not pair:  # None, and as in transformers an empty second text
            return [text], False
        _check(pair, "text_pair", is_split)
        return [(text, pair)], False
    texts = _as_list(text, "text", is_split)
    if pair is None:
        return [_one(item, f"text[{index}]", is_split) for index, item in enumerate(texts)], True
    pairs = _as_list(pair, "text_pair", is_split)
    if len(texts) != len(pairs):
        raise InputError(f"{len(texts)} texts and {len(pairs)} in text_pair came: each text needs one.")
    for index, (first, second) in enumerate(zip(texts, pairs, strict=True)):
        _check(first, f"text[{index}]", is_split)
        _check(second, f"text_pair[{index}]", is_split)
    return list(zip(texts, pairs, strict=True)), True


def _as_list(texts: Any, name: str, is_split: bool) -> list[Any]:
    if isinstance(texts, Sequence) and not isinstance(texts, (str, bytes)):
        return list(texts)
    wanted = "a list of words, or a list of them" if is_split else "a str, or a list of str"
    raise InputError(f"{name} is {wanted}, and {type(texts).__name__} {texts!r:.80} came.")


def _one(item: Any, name: str, is_split: bool) -> Any:
    """An item of a batch: a text, or a pair of texts."""
    if isinstance(item, (list, tuple)) and len(item) == 2 and (not is_split or not isinstance(item[0], str)):
        for half in item:
            _check(half, name, is_split)
        return tuple(item)
    _check(item, name, is_split)
    return item


def _is_words(text: Any) -> bool:
    return isinstance(text, (list, tuple)) and (not text or isinstance(text[0], str))


def _check(text: Any, name: str, is_split: bool) -> None:
    """Raises InputError where `text` is no text: a str, or with `is_split` a list of them."""
    words = text if is_split and isinstance(text, (list, tuple)) else [text]
    for word in words:
        if not isinstance(word, str):
            raise InputError(f"{name} is a str, and {type(word).__name__} {word!r:.80} came.")
        try:
            word.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"{name} holds half a surrogate pair at {error.start}, which is no text.") from error
