"""Pairs that need not fit into memory: read in their order, a buffer at a time, and shuffled and batched within it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conjoin.errors import DataError
from conjoin.training.data import Pairs, located_rows, text_of

__all__ = ["BUFFER", "Feed", "PairStream", "stream_pairs"]

BUFFER = 10_000  # pairs


@dataclass(frozen=True)
class PairStream:
    """Pairs of texts that are read anew in each pass, at most `buffer` of them in memory; `name` is for messages."""

    read: Callable[[], Iterator[tuple[str, str]]]
    name: str
    buffer: int = BUFFER

    def __post_init__(self) -> None:
        if self.buffer < 1:
            raise DataError(f"the buffer is {self.buffer}; a number of pairs from 1 was expected.")

    def portions(self) -> Iterator[Pairs]:
        """One pass: as many pairs at a time as the buffer takes, the last time those that are left."""
        texts: tuple[list[str], list[str]] = ([], [])
        first = 1
        for pair in self.read():
            for found, text in zip(texts, pair, strict=True):
                found.append(text)
            if len(texts[0]) == self.buffer:
                yield Pairs(*texts, f"{self.name}, pairs {first} to {first + self.buffer - 1}")
                first, texts = first + self.buffer, ([], [])
        if texts[0]:
            yield Pairs(*texts, f"{self.name}, pairs {first} to {first + len(texts[0]) - 1}")


def stream_pairs(
    source: str | Path,
    *,
    source_column: str = "document",
    target_column: str = "summary",
    split: str = "train",
    buffer: int = BUFFER,
) -> PairStream:
    """Pairs as `read_pairs` reads them, without holding more than `buffer` of them; a data set of the hub is streamed.

    Raises DataError where it is no file that can be read, and for what is wrong with a line once that is reached.
    """
    name, _ = located_rows(source, split, streaming=True)

    def read() -> Iterator[tuple[str, str]]:
        for where, row in located_rows(source, split, streaming=True)[1]:
            place = f"{name}, {where}"
            yield text_of(row, source_column, place), text_of(row, target_column, place)

    return PairStream(read, name, buffer)


class Feed:
    """What is trained on, in numbered portions: of a stream a buffer each, pass after pass; otherwise all pairs, each epoch.

    Portions are asked for in order, some may be passed over; each is the same whenever it is read.
    """

    def __init__(self, pairs: Pairs | PairStream) -> None:
        self.pairs, self.streams = pairs, isinstance(pairs, PairStream)
        self.found = pairs if isinstance(pairs, Pairs) else None
        self.left: Iterator[Pairs] = iter(())
        self.next = 0
        self.a_pass = 0  # portions in a pass, once one is over

    def portion(self, number: int) -> Pairs:
        """The pairs of a portion. Raises DataError for a line that is malformed, or a stream without any pair."""
        if isinstance(self.pairs, Pairs):
            return self.pairs
        while self.next <= number:
            found = next(self.left, None)
            if found is None:
                self.rewind(self.pairs, number)
                found = next(self.left, None)
            if found is None:
                raise DataError(f"{self.pairs.name} has no pairs; at least one was expected.")
            self.found, self.next = found, self.next + 1
        assert self.found is not None
        return self.found

    def rewind(self, pairs: PairStream, number: int) -> None:
        """Begins a pass, without reading those that end before the portion of this number."""
        self.a_pass = self.a_pass or self.next
        if self.a_pass:
            self.next += (number - self.next) // self.a_pass * self.a_pass
        self.left = pairs.portions()
