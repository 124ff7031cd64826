"""Texts that end before a stop string, as OpenAI's do; `generate` leaves it in the text."""

from collections.abc import Sequence

__all__ = ["Ending", "ended_before"]


class Ending:
    """A text that comes in pieces: what may be the beginning of a stop string is held back until it is known."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = stops
        self.held = ""
        self.is_over = False

    def after(self, piece: str) -> str:
        """What can be told once this piece has come."""
        if self.is_over:
            return ""
        text = self.held + piece
        if (at := first_stop(text, self.stops)) is not None:
            self.is_over, self.held = True, ""
            return text[:at]
        held = max((begun(text, stop) for stop in self.stops), default=0)
        self.held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What is told at the end."""
        return self.held


def begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    return next((n for n in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the stop string begins that is the first to be complete; None where there is none."""
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def ended_before(text: str, stops: Sequence[str]) -> str:
    """A whole text up to the first stop string."""
    return text[: first_stop(text, stops)]
