"""The threads that run programs: they spin a moment for the next one, then sleep until they are woken."""

import os
import threading
from contextlib import nullcontext

import numpy as np

from conjoin.engine.kernels.compiling import called_from_python, compiled
from conjoin.engine.kernels.executor import execute
from conjoin.engine.kernels.instructions import (
    add_atomic,
    int64s_at,
    load_atomic,
    pause,
    sleep_while,
    store_atomic,
    wake,
    yield_core,
)

__all__ = ["Team", "team_of"]

WAITS = 4000  # turns that a thread spins for its next program before it sleeps
# What threads share: numbers of 8 bytes, those that are waited for in cache lines of their own.
ROUND, FINISHED, SLEEPERS, BARRIER, JOB, NUMBERS = 0, 8, 16, 24, 32, 40
TEAMS: dict[int, "Team"] = {}  # by how many threads
os.register_at_fork(after_in_child=TEAMS.clear)  # a child has none of its parent's threads


@compiled
def next_round(shared: int, last: int) -> int:
    """Waits for the round after the `last`."""
    spins = 0
    while load_atomic(shared + 8 * ROUND) == last:
        spins += 1
        if spins < WAITS:
            pause()
        else:
            add_atomic(shared + 8 * SLEEPERS, 1)
            sleep_while(shared + 8 * ROUND, last)
            add_atomic(shared + 8 * SLEEPERS, -1)
    return last + 1


@compiled
def begin(count: int, ops: int, by: int, buffers: int, facts: int, shared: int) -> None:
    """Begins a round with a program."""
    known = int64s_at(shared, NUMBERS)
    known[JOB], known[JOB + 1], known[JOB + 2], known[JOB + 3], known[JOB + 4] = count, ops, by, buffers, facts
    store_atomic(shared + 8 * BARRIER, 0)
    store_atomic(shared + 8 * FINISHED, 0)
    add_atomic(shared + 8 * ROUND, 1)
    if load_atomic(shared + 8 * SLEEPERS) > 0:
        wake(shared + 8 * ROUND)


@compiled
def wait_for_helpers(shared: int, threads: int) -> None:
    """Waits until all have done their part of a round."""
    spins = 0
    while load_atomic(shared + 8 * FINISHED) < threads - 1:
        spins += 1
        if spins < WAITS:
            pause()
        else:
            yield_core()


@called_from_python
def take_part(count: int, ops: int, by: int, buffers: int, facts: int, shared: int, thread: int, threads: int) -> None:
    """One thread's part, without Python's lock: of one round as its caller (thread 0), of all of them for ever as a helper.

    One function for both, and `thread` no number that is written here, which Numba would take for a type of its own:
    either way it would compile all that follows twice.
    """
    known, last = int64s_at(shared, NUMBERS), np.int64(0)
    if thread == 0:
        begin(count, ops, by, buffers, facts, shared)
    while True:
        if thread > 0:
            last = next_round(shared, last)
            count, ops, by, buffers, facts = known[JOB], known[JOB + 1], known[JOB + 2], known[JOB + 3], known[JOB + 4]
        execute(count, ops, by, buffers, facts, thread, threads)
        if thread == 0:
            return wait_for_helpers(shared, threads)
        add_atomic(shared + 8 * FINISHED, 1)


class Team:
    """A caller and its helpers, who run one program at a time."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.shared = np.zeros(NUMBERS, np.int64)
        self.lock = threading.Lock()
        for thread in range(1, threads):
            args = (0, 0, 0, 0, 0, self.shared.ctypes.data, thread, threads)
            threading.Thread(target=take_part, args=args, daemon=True, name=f"conjoin-{thread}").start()

    @property
    def counter(self) -> int:
        """The address of the barrier's counter."""
        return int(self.shared.ctypes.data + 8 * BARRIER)

    def run(self, ops: np.ndarray, by: np.ndarray, buffers: np.ndarray, facts: np.ndarray) -> None:
        """Runs a program: ops (n, FIELDS), by (n, 2) float64, addresses of buffers, facts; returns when all have done."""
        tables = (ops.ctypes.data, by.ctypes.data, buffers.ctypes.data, facts.ctypes.data)
        with self.lock if self.threads > 1 else nullcontext():  # one alone shares nothing
            take_part(len(ops), *tables, self.shared.ctypes.data, 0, self.threads)


def team_of(threads: int) -> Team:
    """The team of so many threads, made when it is first asked for."""
    if threads not in TEAMS:
        TEAMS[threads] = Team(threads)
    return TEAMS[threads]
