"""Documents as lists of sentences with a summary each, from the files and data sets that pairs are read from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conjoin.errors import DataError
from conjoin.extraction.sentences import split_sentences
from conjoin.training.data import Pairs, located_rows, text_of

__all__ = ["Documents", "read_documents", "sentences_of"]


@dataclass(frozen=True)
class Documents:
    """The sentences of each document, and the summary that belongs to it; `name` is where they came from."""

    sentences: list[list[str]]
    summaries: list[str]
    name: str = "the documents"

    def __len__(self) -> int:
        return len(self.sentences)

    def first(self, count: int) -> "Documents":
        """The first `count` documents."""
        return Documents(self.sentences[:count], self.summaries[:count], self.name)

    def pairs(self) -> Pairs:
        """Documents as texts, with their summaries. Raises DataError where there are none."""
        return Pairs([" ".join(own) for own in self.sentences], self.summaries, self.name)


def read_documents(
    source: str | Path,
    *,
    source_column: str = "document",
    target_column: str = "summary",
    split: str = "train",
    language: str = "en",
) -> Documents:
    """Reads documents as `read_pairs` reads pairs; a document is a text, or a list of its sentences.

    Raises DataError, with the line, for what is neither, and for a document without a sentence.
    """
    name, rows = located_rows(source, split)
    documents, summaries = [], []
    for place, row in rows:
        where = f"{name}, {place}"
        summaries.append(text_of(row, target_column, where))
        found = row.get(source_column)
        ready = isinstance(found, list)
        documents.append(sentences_of(found if ready else text_of(row, source_column, where), where, language))
    if not documents:
        raise DataError(f"{name} has no documents; at least one was expected.")
    return Documents(documents, summaries, name)


def sentences_of(document: Any, where: str, language: str = "en") -> list[str]:
    """The sentences of a text, or those of a list, which must all be texts. Raises DataError, naming `where`."""
    if isinstance(document, str):
        found = split_sentences(document, language)
    elif isinstance(document, list) and all(isinstance(one, str) for one in document):
        found = [one.strip() for one in document if one.strip()]
    else:
        raise DataError(f"{where}: a {type(document).__name__} came; a text, or a list of sentences, was expected.")
    if not found:
        raise DataError(f"{where}: the document is empty; at least one sentence was expected.")
    return found
