"""Texts in pieces, as their tokens come: none ends within a character, and none is taken back."""

from collections.abc import Iterable, Iterator, Sequence

from conjoin.tokens.pair import TokenizerLike
from conjoin.tokens.tokenizer import Tokenizer

__all__ = ["Settling", "pieces", "several_pieces"]

# How many characters at the end of a text a tokenizer's clean-up (" n't" to "n't") may still change.
UNSETTLED = 12
UNFINISHED = "\ufffd"


def pieces(tokens: Iterable[int], tokenizer: TokenizerLike) -> Iterator[str]:
    """A text in pieces as its tokens come."""
    return (piece for _, piece in several_pieces(((0, [token]) for token in tokens), tokenizer))


def several_pieces(coming: Iterable[tuple[int, list[int]]], tokenizer: TokenizerLike) -> Iterator[tuple[int, str]]:
    """Several texts in pieces as their tokens come, each with its number; what was held back of them at the end."""
    texts: dict[int, Settling] = {}
    for row, ids in coming:
        piece = texts.setdefault(row, Settling(tokenizer)).after(ids)
        if piece:
            yield row, piece
    for row, text in texts.items():
        if rest := text.rest():
            yield row, rest


class Settling:
    """A text that grows by tokens: what is new in the whole decoded so far, and can no longer change."""

    def __init__(self, tokenizer: TokenizerLike) -> None:
        self.tokenizer = tokenizer
        plain = isinstance(tokenizer, Tokenizer) and not tokenizer.clean_up_tokenization_spaces
        self.held = 0 if plain else UNSETTLED
        self.ids: list[int] = []
        self.text = ""
        self.given = 0

    def after(self, ids: Sequence[int]) -> str:
        """What further tokens add."""
        self.ids.extend(ids)
        self.text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        # A token of bytes may end within a character, which decodes to U+FFFD until the rest is there.
        return self.up_to(min(len(self.text.rstrip(UNFINISHED)), len(self.text) - self.held))

    def rest(self) -> str:
        """What was held back, when no more tokens come."""
        return self.up_to(len(self.text))

    def up_to(self, end: int) -> str:
        """The text from where the last piece ended."""
        start, self.given = self.given, max(self.given, end)
        return self.text[start : self.given]
