"""Operations that work row by row: norms, sums and products, activations, rotary positions."""

import numpy as np

from conjoin.engine.kernels.compiling import Kernel, compiled
from conjoin.engine.kernels.executor import layer_of, scratch_of, share
from conjoin.engine.kernels.instructions import floats_at, moved, number, place, real
from conjoin.engine.kernels.layout import Code, Fact, PerLayer
from conjoin.engine.kernels.vectors import WIDTH, activating

__all__ = ["BY_ROWS", "activate", "tanh"]

PIECE = 256  # numbers that an activation takes at a time
ROWS, LENGTH = int(Fact.ROWS), int(Fact.LENGTH)
COSINES, SINES, TURN_STRIDES = int(PerLayer.COSINES), int(PerLayer.SINES), int(PerLayer.TURN_STRIDES)

gelu, gelu_tanh, relu, silu, tanh, sigmoid = (activating(number) for number in (1, 2, 3, 4, 5, 6))


def norm(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """NORM: each head of each row by itself."""
    rows, width, eps = number(facts, ROWS), number(op, 9), real(by, 0)
    a, b, weight, bias, root = (
        place(buffers, op, 1),
        place(buffers, op, 4),
        number(op, 7),
        number(op, 8),
        number(op, 10),
    )
    for r in share(rows, thread, threads):
        x, y = moved(a, r, number(op, 3)), moved(b, r, number(op, 6))
        for h in range(number(op, 11)):
            normalise(moved(x, h, width), moved(y, h, width), weight, bias, width, root, eps)
    return turns


def combine(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """COMBINE."""
    rows, a, b, out = number(facts, ROWS), place(buffers, op, 1), place(buffers, op, 4), place(buffers, op, 7)
    for r in share(rows, thread, threads):
        x, y, to = moved(a, r, number(op, 3)), moved(b, r, number(op, 6)), moved(out, r, number(op, 9))
        combine_row(number(op, 11), x, y, to, number(op, 10))
    return turns


def scale(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """SCALE."""
    rows, a, b, width, factor = (
        number(facts, ROWS),
        place(buffers, op, 1),
        place(buffers, op, 4),
        number(op, 7),
        real(by, 0),
    )
    for r in share(rows, thread, threads):
        row, to = floats_at(moved(a, r, number(op, 3)), width), floats_at(moved(b, r, number(op, 6)), width)
        for i in range(width):
            to[i] = row[i] * factor
    return turns


def activation(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """ACTIVATE."""
    rows, a, b, scratch = number(facts, ROWS), place(buffers, op, 1), place(buffers, op, 4), scratch_of(facts, thread)
    for r in share(rows, thread, threads):
        activate_row(number(op, 8), moved(a, r, number(op, 3)), moved(b, r, number(op, 6)), number(op, 7), scratch)
    return turns


def turn(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """TURN: by rotary positions, in place."""
    rows, length, a = number(facts, ROWS), number(facts, LENGTH), place(buffers, op, 1)
    layer = layer_of(facts, number(op, 8))
    for r in share(rows, thread, threads):
        at = 4 * (r // length * number(layer, TURN_STRIDES) + r % length * number(layer, TURN_STRIDES + 1))
        cosines, sines = number(layer, COSINES) + at, number(layer, SINES) + at
        turn_row(moved(a, r, number(op, 3)), number(op, 4), number(op, 5), number(op, 6), number(op, 7), cosines, sines)
    return turns


BY_ROWS = {
    Code.NORM: Kernel(norm),
    Code.COMBINE: Kernel(combine),
    Code.SCALE: Kernel(scale),
    Code.ACTIVATE: Kernel(activation),
    Code.TURN: Kernel(turn),
}


@compiled
def activate(kind: int, x: int, vectors: int, out: int, stride: int) -> None:
    """An activation of whole vectors of sixteen, to rows of two vectors each."""
    if kind == 1:
        gelu(x, vectors, out, stride)
    elif kind == 2:
        gelu_tanh(x, vectors, out, stride)
    elif kind == 3:
        relu(x, vectors, out, stride)
    elif kind == 4:
        silu(x, vectors, out, stride)
    elif kind == 5:
        tanh(x, vectors, out, stride)
    elif kind == 6:
        sigmoid(x, vectors, out, stride)


@compiled
def activate_row(kind: int, x: int, out: int, width: int, scratch: int) -> None:
    """One row's activation, in pieces that fill vectors."""
    piece = floats_at(scratch, PIECE)
    for first in range(0, width, PIECE):
        count = min(PIECE, width - first)
        row, to, vectors = (
            floats_at(x + 4 * first, count),
            floats_at(out + 4 * first, count),
            (count + WIDTH - 1) // WIDTH,
        )
        for i in range(count):
            piece[i] = row[i]
        for i in range(count, vectors * WIDTH):
            piece[i] = np.float32(0)
        activate(kind, scratch, vectors, scratch, 8 * WIDTH)
        for i in range(count):
            to[i] = piece[i]


@compiled
def normalise(x: int, out: int, weight: int, bias: int, width: int, root: int, eps: np.float32) -> None:
    """One row's layer norm, or (`root`) its RMS norm."""
    row, to, by = floats_at(x, width), floats_at(out, width), floats_at(weight, width)
    mean = np.float32(0)
    if root == 0:
        for i in range(width):
            mean += row[i]
        mean /= np.float32(width)
    spread = np.float32(0)
    for i in range(width):
        away = row[i] - mean
        spread += away * away
    over = np.float32(1) / np.sqrt(spread / np.float32(width) + eps)
    if bias == 0:
        for i in range(width):
            to[i] = (row[i] - mean) * over * by[i]
    else:
        more = floats_at(bias, width)
        for i in range(width):
            to[i] = (row[i] - mean) * over * by[i] + more[i]


@compiled
def combine_row(kind: int, a: int, b: int, out: int, width: int) -> None:
    """One row: a + b, a - b or a * b."""
    left, right, to = floats_at(a, width), floats_at(b, width), floats_at(out, width)
    if kind == 0:
        for i in range(width):
            to[i] = left[i] + right[i]
    elif kind == 1:
        for i in range(width):
            to[i] = left[i] - right[i]
    else:
        for i in range(width):
            to[i] = left[i] * right[i]


@compiled
def turn_row(x: int, heads: int, size: int, pairs: int, interleaved: int, cosines: int, sines: int) -> None:
    """One row's heads turned by rotary positions, in place."""
    cos, sin = floats_at(cosines, pairs), floats_at(sines, pairs)
    for h in range(heads):
        head = floats_at(x + 4 * h * size, size)
        for i in range(pairs):
            first = 2 * i if interleaved else i
            second = first + 1 if interleaved else i + pairs
            a, b = head[first], head[second]
            head[first] = a * cos[i] - b * sin[i]
            head[second] = b * cos[i] + a * sin[i]
