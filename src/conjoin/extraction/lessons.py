"""What an extractor learns of documents: which of their sentences are to be chosen, as labels of those that it reads."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conjoin.extraction.documents import Documents
from conjoin.extraction.encoding import Encoded, rows
from conjoin.extraction.model import Extractor
from conjoin.extraction.oracle import oracle
from conjoin.training.batches import Rows
from conjoin.training.overlaps import warn_of_overlap, warn_of_repeats

__all__ = ["Lessons", "lessons_of", "warn_of_lessons"]

logger = logging.getLogger("conjoin")


@dataclass(frozen=True)
class Lessons:
    """Documents, how the model reads each, and which of its sentences are to be chosen."""

    documents: Documents
    read: list[Encoded]
    chosen: list[list[int]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document, as it is read."""
        return np.asarray([len(one.ids) for one in self.read])

    def first(self, count: int) -> "Lessons":
        """Of the first `count` documents."""
        return Lessons(self.documents.first(count), self.read[:count], self.chosen[:count])

    def labels(self, index: Rows) -> Tensor:
        """1 for each sentence that is to be chosen, 0 for the others and for what is no sentence: (B, N)."""
        marked = [[int(n in self.chosen[i]) for n in range(len(self.read[i].places))] for i in index.tolist()]
        return rows(marked, 0)


def lessons_of(model: Extractor, documents: Documents) -> Lessons:
    """What a model is taught of documents, by the greedy oracle over the sentences that it has room for."""
    read = [model.encoded(sentences) for sentences in documents.sentences]
    sides = zip(read, documents.sentences, documents.summaries, strict=True)
    return Lessons(documents, read, [oracle(own[: len(one.places)], summary) for one, own, summary in sides])


def warn_of_lessons(lessons: Lessons, held_out: Lessons | None, limit: int) -> None:
    """Says how many documents were cut to `limit` tokens, are there more than once, or are both learnt from and held out."""
    for some in (lessons, held_out):
        if some is not None:
            cut, name = sum(one.cut for one in some.read), some.documents.name
            if cut:
                logger.warning("%s: %d of %d documents were cut to %d tokens.", name, cut, len(some.read), limit)
            warn_of_repeats(some.documents.pairs())
    if held_out is not None:
        warn_of_overlap(lessons.documents.pairs().sources, lessons.documents.name, held_out.documents.pairs())
