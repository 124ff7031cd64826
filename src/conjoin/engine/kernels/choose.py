"""Kernels by which tokens are chosen: log-probabilities over a vocabulary, and the largest of many numbers."""

import math

import numpy as np

from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import floats_at, int32s_at
from conjoin.engine.kernels.vectors import WIDTH, maximum, sum_of_exponentials

__all__ = ["largest", "log_softmax"]

PIECE = 64  # vectors whose sum is taken in float32
GLANCE = 256  # numbers of which the largest is looked at first


@compiled
def log_softmax(x: int, out: int, width: int) -> None:
    """One row's log-probabilities."""
    row, to, whole = floats_at(x, width), floats_at(out, width), width // WIDTH
    best, total = maximum(x, whole), np.float64(0)
    for i in range(whole * WIDTH, width):
        best = max(best, row[i])
    for first in range(0, whole, PIECE):
        total += sum_of_exponentials(x + 4 * WIDTH * first, min(PIECE, whole - first), best)
    for i in range(whole * WIDTH, width):
        total += math.exp(row[i] - best)
    less = np.float32(np.float64(best) + math.log(total))
    for i in range(width):
        to[i] = row[i] - less


@compiled
def largest(x: int, width: int, count: int, out: int) -> None:
    """The `count` largest of a row, in order, and behind them their places, as int32; of equal ones the first."""
    row, values, places = floats_at(x, width), floats_at(out, count), int32s_at(out + 4 * count, count)
    for i in range(count):
        insert(row[i], i, i, values, places)
    for first in range(count, width, GLANCE):
        last = min(width, first + GLANCE)
        if last - first < GLANCE or maximum(x + 4 * first, GLANCE // WIDTH) > values[count - 1]:
            for i in range(first, last):
                if row[i] > values[count - 1]:
                    insert(row[i], i, count - 1, values, places)


@compiled
def insert(value: np.float32, place: int, at: int, values: np.ndarray, places: np.ndarray) -> None:
    """Puts a number where it belongs among those before `at`, which are in order."""
    while at > 0 and values[at - 1] < value:
        values[at], places[at] = values[at - 1], places[at - 1]
        at -= 1
    values[at], places[at] = value, place
