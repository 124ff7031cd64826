"""Runs a program: each thread does its share of every operation, and all wait for each other between two."""

import numpy as np

from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import add_atomic, kernel_at, load_atomic, number, pause, yield_core
from conjoin.engine.kernels.layout import FIELDS, LAYER, LAYERS, Fact

__all__ = ["barrier", "execute", "layer_of", "scratch_of", "share"]

PATIENCE = 2000  # turns that a thread spins at a barrier before it lets others have its core
COUNTER, SCRATCH, SCRATCH_BYTES = int(Fact.COUNTER), int(Fact.SCRATCH), int(Fact.SCRATCH_BYTES)


@compiled
def barrier(counter: int, turn_number: int, threads: int) -> None:
    """Waits until all threads have come here for the `turn_number`th time (from 1)."""
    if threads == 1:
        return
    add_atomic(counter, 1)
    goal, spins = turn_number * threads, 0
    while load_atomic(counter) < goal:
        spins += 1
        if spins < PATIENCE:
            pause()
        else:
            yield_core()


@compiled
def scratch_of(facts: int, thread: int) -> int:
    """The address of a thread's own memory."""
    return number(facts, SCRATCH) + thread * number(facts, SCRATCH_BYTES)


@compiled
def layer_of(facts: int, layer: int) -> int:
    """The address of a layer's facts."""
    return facts + 8 * (LAYERS + LAYER * layer)


@compiled
def share(count: int, thread: int, threads: int) -> range:
    """A thread's part of so many rows, panels or heads."""
    return range(count * thread // threads, count * (thread + 1) // threads)


@compiled
def execute(count: int, ops: int, by: int, buffers: int, facts: int, thread: int, threads: int) -> None:
    """One thread's part of a program, by the addresses of its tables (see `Program`)."""
    turns = np.int64(0)
    for i in range(count):
        op = ops + 8 * FIELDS * i
        turns = 1 + kernel_at(number(op, 0), op, by + 16 * i, buffers, facts, thread, threads, turns)
        barrier(number(facts, COUNTER), turns, threads)
