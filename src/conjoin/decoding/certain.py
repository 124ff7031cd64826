"""Which tokens of a running search cannot change any more: those that a stream may hand out."""

from collections.abc import Iterator, Sequence
from typing import Any

from conjoin.decoding.search import Beams
from conjoin.decoding.state import State

__all__ = ["Certain"]


class Certain:
    """Follows the sources of one search on the host, whose first hypothesis is what each will come to.

    A token of greedy search or of a sample is certain when it is chosen. With beams, what all running beams and the best of
    those that have ended begin with is certain: whatever wins goes on from one of these, and one that ended with a lower
    score never wins.
    """

    def __init__(self, ops: Any, rows: int) -> None:
        self.ops = ops
        self.handed = [0] * rows
        self.over = [False] * rows

    def after(self, state: State) -> Iterator[tuple[int, list[int]]]:
        """(source, ids) of each source that has further ids after a step, its prompt among the first."""
        told = self.of_beams(state) if isinstance(state.search, Beams) else self.of_grown(state)
        for row, ids, over in told:
            new = ids[self.handed[row] :]
            if not self.over[row] and new:
                self.handed[row] = len(ids)
                yield row, new
            self.over[row] = self.over[row] or over

    def of_grown(self, state: State) -> Iterator[tuple[int, list[int], bool]]:
        """Source, its ids, and whether it has ended."""
        length, ended = int(state.length), self.ops.id_lists(state.search.ended)
        for row, hypotheses in zip(range(len(self.over)), self.ops.id_lists(state.ids), strict=False):
            yield row, hypotheses[0][:length], bool(ended[row][0])

    def of_beams(self, state: State) -> Iterator[tuple[int, list[int], bool]]:
        """Source, the ids that are certain, and whether the search for it is over."""
        lists, search, length = self.ops.id_lists, state.search, int(state.length)
        running, done, ended = lists(state.ids), lists(state.done), lists(search.ended)
        best, lengths = lists(search.ended_ids), lists(search.ended_length)
        for row in range(len(self.over)):
            winner = best[row][0][: lengths[row][0]]
            if done[row]:
                yield row, winner, True
                continue
            possible = [one[:length] for one in running[row]] + ([winner] if ended[row][0] else [])
            yield row, common_beginning(possible), False


def common_beginning(several: Sequence[list[int]]) -> list[int]:
    """What all sequences begin with."""
    first, last = min(several), max(several)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]
