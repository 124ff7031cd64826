"""Programs that are borrowed: calls that run side by side each have buffers of their own, and share weights."""

import contextlib
from collections.abc import Iterator

from conjoin.engine.program import Closed

__all__ = ["Pool"]


class Pool:
    """A program, and as many copies of it as were ever run at once."""

    def __init__(self, closed: Closed) -> None:
        self.program = closed.program
        self.free = [closed]

    @contextlib.contextmanager
    def borrowed(self, once: bool = False) -> Iterator[Closed]:
        """One that nobody else runs meanwhile; where it is run `once`, not at every step, its large buffers do not outlast it."""
        try:
            one = self.free.pop()
        except IndexError:
            one = Closed(self.program)
        try:
            yield one
        finally:
            if once:
                one.give_back()
            self.free.append(one)
