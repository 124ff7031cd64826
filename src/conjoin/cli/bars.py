"""A progress bar on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


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
