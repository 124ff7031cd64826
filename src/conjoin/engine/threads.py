"""Whose threads work while a model generates: the kernels' own, and torch's not beside them."""

import contextlib
import threading
from collections.abc import Iterator

import torch

__all__ = ["kernel_threads", "kernels_alone", "one_thread"]


class Turn:
    """How many calls generate now, and how many threads torch had before the first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls = 0
        self.threads = 0


class Own(threading.local):
    """How many threads the kernels of this thread's calls have; 0 where nobody says."""

    threads = 0


TURN, OWN = Turn(), Own()


@contextlib.contextmanager
def threads_of(count: int) -> Iterator[None]:
    """The kernels that this thread calls have so many threads, it among them."""
    was, OWN.threads = OWN.threads, count
    try:
        yield
    finally:
        OWN.threads = was


def one_thread() -> contextlib.AbstractContextManager[None]:
    """The kernels that this thread calls run on it alone."""
    return threads_of(1)


@contextlib.contextmanager
def kernels_alone(native: bool) -> Iterator[None]:
    """Torch on one thread meanwhile, if the kernels run: its others would spin after each operation, where theirs work."""
    if not native:
        yield
        return
    with TURN.lock:
        TURN.calls += 1
        if TURN.calls == 1:
            TURN.threads = torch.get_num_threads()
            torch.set_num_threads(1)
    try:
        yield
    finally:
        with TURN.lock:
            TURN.calls -= 1
            if TURN.calls == 0:
                torch.set_num_threads(TURN.threads)


def kernel_threads() -> int:
    """As many as torch has when nothing generates, unless `one_thread` says otherwise."""
    if OWN.threads:
        return OWN.threads
    return TURN.threads if TURN.calls else torch.get_num_threads()
