"""Where tokens, words and characters of an encoded text lie in each other, by transformers' methods."""

from typing import NamedTuple

from tokenizers import Encoding

__all__ = ["Aligned", "CharSpan", "TokenSpan"]


class CharSpan(NamedTuple):
    """From one character of a text to before another."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """From one token of a row to before another."""

    start: int
    end: int


class Aligned:
    """Each method takes an index, or the row's number and an index; None comes where there is nothing of that kind.

    `sequence_index` is 1 for the second text of a pair.
    """

    def _encoding(self, batch_index: int, method: str) -> Encoding:
        raise NotImplementedError

    def _row(self, first: int, second: int | None, method: str) -> tuple[Encoding, int]:
        row, index = (0, first) if second is None else (first, second)
        return self._encoding(row, method), index

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which text of a pair a token is of."""
        row, index = self._row(batch_or_token_index, token_index, "token_to_sequence")
        return row.token_to_sequence(index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which word a token is of."""
        row, index = self._row(batch_or_token_index, token_index, "token_to_word")
        found = row.token_to_word(index)
        return found[1] if isinstance(found, tuple) else found

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token."""
        row, index = self._row(batch_or_token_index, token_index, "token_to_chars")
        found = row.token_to_chars(index)
        return None if found is None else CharSpan(*found)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word."""
        row, index = self._row(batch_or_word_index, word_index, "word_to_tokens")
        found = row.word_to_tokens(index, sequence_index)
        return None if found is None else TokenSpan(*found)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word."""
        row, index = self._row(batch_or_word_index, word_index, "word_to_chars")
        found = row.word_to_chars(index, sequence_index)
        return None if found is None else CharSpan(*found)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that a character is in."""
        row, index = self._row(batch_or_char_index, char_index, "char_to_token")
        return row.char_to_token(index, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character is in."""
        row, index = self._row(batch_or_char_index, char_index, "char_to_word")
        return row.char_to_word(index, sequence_index)
