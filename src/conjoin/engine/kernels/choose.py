"""Kernels by which tokens are chosen: log-probabilities over a vocabulary, and the largest of many numbers, or both at once."""

import math

import numpy as np

from conjoin.engine.kernels.compiling import Kernel, compiled
from conjoin.engine.kernels.executor import scratch_of, share
from conjoin.engine.kernels.instructions import floats_at, int32s_at, moved, number, place
from conjoin.engine.kernels.layout import Code, Fact
from conjoin.engine.kernels.vectors import LOWEST, WIDTH, maximum, sum_of_exponentials
from conjoin.engine.rows import GLANCE

__all__ = ["CHOOSERS"]

PART = 32  # numbers that are looked at one by one where their largest is large enough
PIECE = 64  # vectors whose sum is taken in float32
ROWS, FORBIDDEN = int(Fact.ROWS), int(Fact.FORBIDDEN)


def log_softmax(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """LOG_SOFTMAX."""
    rows, width, a, b = number(facts, ROWS), number(op, 7), place(buffers, op, 1), place(buffers, op, 4)
    for r in share(rows, thread, threads):
        x = moved(a, r, number(op, 3))
        row, to = floats_at(x, width), floats_at(moved(b, r, number(op, 6)), width)
        less = log_of_sum(x, width, greatest_of(x, width))
        for i in range(width):
            to[i] = row[i] - less
    return turns


def best(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """BEST."""
    rows, a, b = number(facts, ROWS), place(buffers, op, 1), place(buffers, op, 4)
    for r in share(rows, thread, threads):
        largest(moved(a, r, number(op, 3)), number(op, 7), number(op, 8), moved(b, r, number(op, 6)))
    return turns


def choose(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """CHOOSE."""
    rows, a, b, scratch = number(facts, ROWS), place(buffers, op, 1), place(buffers, op, 4), scratch_of(facts, thread)
    forbidden, forbids = number(facts, FORBIDDEN), number(facts, FORBIDDEN + 1)
    for r in share(rows, thread, threads):
        x, to, tokens = moved(a, r, number(op, 3)), moved(b, r, number(op, 6)), moved(forbidden, r, forbids)
        choose_of_row(x, number(op, 7), number(op, 8), tokens, forbids, to, scratch)
    return turns


CHOOSERS = {Code.LOG_SOFTMAX: Kernel(log_softmax), Code.BEST: Kernel(best), Code.CHOOSE: Kernel(choose)}


@compiled
def greatest_of(x: int, width: int) -> np.float32:
    """The largest number of a row."""
    row, whole = floats_at(x, width), width // WIDTH
    best = maximum(x, whole)
    for i in range(whole * WIDTH, width):
        best = max(best, row[i])
    return best


@compiled
def log_of_sum(x: int, width: int, best: np.float32) -> np.float32:
    """The logarithm of the sum of a row's exponentials; `best` is its largest number."""
    row, whole, total = floats_at(x, width), width // WIDTH, np.float64(0)
    for first in range(0, whole, PIECE):
        total += sum_of_exponentials(x + 4 * WIDTH * first, min(PIECE, whole - first), best)
    for i in range(whole * WIDTH, width):
        total += math.exp(row[i] - best)
    return np.float32(np.float64(best) + math.log(total))


@compiled
def choose_of_row(x: int, width: int, count: int, forbidden: int, forbids: int, out: int, scratch: int) -> None:
    """As `largest`, of the log-probabilities of a row's logits: what `log_softmax` and it would give, which are not written down.

    Forbidden tokens have none, but count in the sum. `scratch` has room for a number for each GLANCE of the row and each of them.
    """
    row, tokens, kept = floats_at(x, width), int32s_at(forbidden, forbids), floats_at(scratch, forbids)
    parts = (width + GLANCE - 1) // GLANCE
    tops, best = floats_at(scratch + 4 * forbids, parts), np.float32(LOWEST)
    for part in range(parts):
        tops[part] = greatest_of(x + 4 * GLANCE * part, min(GLANCE, width - GLANCE * part))
        best = max(best, tops[part])
    less = log_of_sum(x, width, best)
    for i in range(forbids):
        token = tokens[i]
        if 0 <= token < width:
            kept[i], row[token], part = row[token], -np.inf, token // GLANCE
            tops[part] = greatest_of(x + 4 * GLANCE * part, min(GLANCE, width - GLANCE * part))
    pick(x, width, less, tops, count, out)
    for i in range(forbids - 1, -1, -1):  # a token may stand there twice
        token = tokens[i]
        if 0 <= token < width:
            row[token] = kept[i]


@compiled
def pick(x: int, width: int, less: np.float32, tops: np.ndarray, count: int, out: int) -> None:
    """The `count` largest of a row less a number; `tops` are the largest of each GLANCE of it."""
    row, values, places, nowhere = (
        floats_at(x, width),
        floats_at(out, count),
        int32s_at(out + 4 * count, count),
        np.int64(0),
    )
    for i in range(count):
        values[i] = -np.inf
    for top in tops:
        if top > values[count - 1]:
            insert(top, nowhere, count - 1, values, places)
    floor = values[count - 1] - less  # so many are at least this large
    if not floor > LOWEST / 2:  # hardly any has a probability
        for i in range(width):
            if i < count or row[i] - less > values[count - 1]:
                insert(row[i] - less, i, min(i, count - 1), values, places)
        return
    for i in range(count):
        values[i] = -np.inf
    for part in range(len(tops)):
        if tops[part] - less >= floor:
            for first in range(GLANCE * part, min(width, GLANCE * (part + 1)), PART):
                here = min(PART, width - first)
                if here == PART and maximum(moved(x, first, 1), PART // WIDTH) - less < floor:
                    continue
                for i in range(first, first + here):
                    value = row[i] - less
                    if value >= floor and value > values[count - 1]:
                        insert(value, i, count - 1, values, places)


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
