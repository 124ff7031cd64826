"""What a person sees of a run: a bar on a terminal, a line now and then elsewhere; both on stderr."""

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

__all__ = ["Reporter"]

SECONDS_BETWEEN_LINES = 30.0
SMOOTHING = 0.9  # of the loss that is shown, and of the speed


class Reporter:
    """Shows steps and remarks; `quiet` shows nothing."""

    def __init__(self, quiet: bool, stream: TextIO | None = None) -> None:
        self.quiet = quiet
        self.console = Console(file=stream or sys.stderr, highlight=False)
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.loss: float | None = None
        self.speed: float | None = None  # examples a second
        self.last_line = 0.0
        self.began = 0.0
        self.began_at = 0.0

    def __enter__(self) -> "Reporter":
        if not self.quiet and self.console.is_terminal:
            columns = (BarColumn(20), TaskProgressColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("starting", total=1.0)
            self.bar.start()
        self.last_line = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin(self, done: float) -> None:
        """The first step is about to begin, with so much of the run, 0 to 1, done by an earlier one."""
        self.began, self.began_at = time.monotonic(), done

    def step(self, number: int, done: float, loss: float, rate: float, examples: int, seconds: float) -> None:
        """A step is over: its number, how much of the run is (0 to 1), its loss, the highest learning rate, its examples
        and seconds.
        """
        speed = examples / max(seconds, 1e-9)
        self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        self.speed = speed if self.speed is None else SMOOTHING * self.speed + (1 - SMOOTHING) * speed
        if self.quiet:
            return
        left, pace = clock(self.seconds_left(done)), f"{self.speed:.{int(self.speed < 10)}f} examples/s"
        text = f"step {number}  loss {self.loss:.3f}  rate {rate:.1e}  {pace}  {left} left"
        if self.bar is not None:
            self.bar.update(self.task, completed=done, description=text)
        elif time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self.say(f"{100 * done:.0f} %  {text}")

    def seconds_left(self, done: float) -> float:
        """How long the rest takes, at the speed so far."""
        share = done - self.began_at
        return 0.0 if share <= 0 else (time.monotonic() - self.began) * (1 - done) / share

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.console.print(text, markup=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
