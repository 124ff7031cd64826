"""Progress on standard error: a bar in a terminal, and where there is none a line from time to time."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar", "bulk_bar"]

SECONDS = 60  # between the lines of a log


@contextmanager
def bar(what: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar that is gone when the block ends; gives what to call with the number of units that are done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    count = "{task.completed}" if total is None else "{task.completed} of {task.total}"
    columns = (
        TextColumn("{task.description}"),
        SpinnerColumn() if total is None else BarColumn(),
        TextColumn(f"{count} {unit}"),
        TimeElapsedColumn() if total is None else TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def bulk_bar(size: int | None) -> Iterator[Callable[[int, int], None]]:
    """Progress through a source of `size`, where that is known; gives what to call with how far one is, and the items done.

    What was done before this run is told with no items. Where there is no terminal a line comes each minute.
    """
    pace = Pace(size)
    if not sys.stderr.isatty():
        yield pace.log
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    drawn = SpinnerColumn() if size is None else BarColumn()
    columns = (TextColumn("Generating"), drawn, TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size)

        def show(at: int, count: int) -> None:
            pace.step(at, count)
            progress.update(task, completed=at, description=pace.text())

        yield show


class Pace:
    """How fast a source is read, and how long the rest of it will take."""

    def __init__(self, size: int | None) -> None:
        self.size, self.at, self.begun_at, self.count = size, 0, 0, 0
        self.began = self.said = time.monotonic()

    def step(self, at: int, count: int) -> None:
        """Takes in how far one is, and how many more items are done."""
        self.at, self.count = at, self.count + count
        if not self.count:
            self.begun_at = at

    def text(self) -> str:
        """Items, items a second, and the time that is left."""
        took = max(time.monotonic() - self.began, 1e-9)
        said = f"{self.count} texts, {self.count / took:.1f} a second"
        if self.size is None or self.at <= self.begun_at:
            return said
        left = round((self.size - self.at) * took / (self.at - self.begun_at))
        return f"{said}, {100 * self.at // self.size}% of the source, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"

    def log(self, at: int, count: int) -> None:
        """Takes a step, and says so where a minute has passed since it last did."""
        self.step(at, count)
        if time.monotonic() - self.said >= SECONDS:
            print(f"Generating: {self.text()}.", file=sys.stderr, flush=True)
            self.said = time.monotonic()
