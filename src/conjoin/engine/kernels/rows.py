"""Kernels that work row by row: linear layers, norms, sums and products, activations, rotary positions.

An operation is a row of whole numbers; a place is three of them: a buffer, the first column, and the numbers from row to row.
Each thread does its share; `executor.py` says when they wait for each other.
"""

import numpy as np

from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import (
    as_int,
    bytes_at,
    floats_at,
    int16s_at,
)
from conjoin.engine.kernels.layout import GROUP, PANEL, Mode
from conjoin.engine.kernels.products import finished_block
from conjoin.engine.kernels.vectors import WIDTH, activating, as_bytes, greatest

__all__ = ["TILE", "activate", "activate_row", "combine", "multiply", "narrow", "normalise", "scale", "turn"]

TILE = 96  # rows that stay in the cache while a thread goes through its panels
PIECE = 256  # numbers that an activation takes at a time
FLOAT32, BFLOAT16, INT8 = int(Mode.FLOAT32), int(Mode.BFLOAT16), int(Mode.INT8)
FLOAT16, INT8_WEIGHTS, INT4_WEIGHTS = int(Mode.FLOAT16), int(Mode.INT8_WEIGHTS), int(Mode.INT4_WEIGHTS)

float_block, half_block, byte_block = (finished_block(kind) for kind in ("float32", "bfloat16", "int8"))
wide_half_block, wide_byte_block, wide_nibble_block = (
    finished_block(kind) for kind in ("float16", "int8 weights", "int4 weights")
)
gelu, gelu_tanh, relu, silu, tanh, sigmoid = (activating(number) for number in (1, 2, 3, 4, 5, 6))


@compiled
def narrow(mode: int, x: int, width: int, out: int, scales: int, row: int) -> None:
    """A row of float32 as bfloat16, rounded to even, or as bytes around 128 with its own scale; zeros fill the last step."""
    numbers = floats_at(x, width)
    if mode == BFLOAT16:
        halves = int16s_at(out, width + (width & 1))
        for i in range(width):
            bits = np.uint32(as_int(numbers[i]))
            halves[i] = np.uint16(
                (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            )
        if width & 1:
            halves[width] = np.uint16(0)
        return
    vectors, most = width // WIDTH, greatest(x, width // WIDTH)
    for i in range(vectors * WIDTH, width):
        most = max(most, abs(numbers[i]))
    by = np.float32(127) / most if most > 0 else np.float32(0)
    full = (width + 3) & ~3
    small = bytes_at(out, full)
    as_bytes(x, vectors, by, out)
    for i in range(vectors * WIDTH, width):
        small[i] = np.uint8(np.int32(np.rint(numbers[i] * by)) + 128)
    for i in range(width, full):
        small[i] = np.uint8(128)
    floats_at(scales, row + 1)[row] = most / np.float32(127)


@compiled
def multiply(
    mode: int,
    x: int,
    x_stride: int,
    rows: int,
    weight: int,
    steps: int,
    first: int,
    last: int,
    outputs: int,
    row_scales: int,
    channel_scales: int,
    corrections: int,
    bias: int,
    kind: int,
    out: int,
    out_stride: int,
    added: int,
    added_stride: int,
    scratch: int,
) -> None:
    """Panels `first` to `last` of out (rows, outputs) = act(x W + bias) + added. Addresses are 0 for what there is not."""
    for top in range(0, rows, TILE):
        below = min(rows, top + TILE)
        for g in range(first, last):
            panel, channel = weight + g * steps * 4 * PANEL, g * PANEL
            width = min(PANEL, outputs - channel)
            at, biases = 4 * channel, bias + 4 * channel if bias != 0 else 0
            full = width == PANEL and (kind == 0 or added == 0)
            r = top
            while r < below:
                here, sizes = x + r * x_stride, row_scales + 4 * r
                more = added + 4 * r * added_stride + at if added != 0 and full else 0
                final = out + 4 * r * out_stride + at
                to, to_stride = (final, 4 * out_stride) if full and kind == 0 else (scratch, 4 * PANEL)
                left, more_stride = below - r, 4 * added_stride
                if mode == FLOAT32:
                    done = float_block(
                        here, x_stride, left, panel, steps, 0, 0, 0, biases, more, more_stride, to, to_stride
                    )
                elif mode == BFLOAT16:
                    done = half_block(
                        here, x_stride, left, panel, steps, 0, 0, 0, biases, more, more_stride, to, to_stride
                    )
                elif mode == FLOAT16:
                    done = wide_half_block(
                        here, x_stride, left, panel, steps, 0, 0, 0, biases, more, more_stride, to, to_stride
                    )
                elif mode == INT8_WEIGHTS:
                    sizes = channel_scales + at
                    done = wide_byte_block(
                        here, x_stride, left, panel, steps, 0, sizes, 0, biases, more, more_stride, to, to_stride
                    )
                elif mode == INT4_WEIGHTS:
                    sizes = channel_scales + 2 * channel * ((8 * steps + GROUP - 1) // GROUP)
                    done = wide_nibble_block(
                        here, x_stride, left, panel, steps, 0, sizes, 0, biases, more, more_stride, to, to_stride
                    )
                else:
                    done = byte_block(
                        here,
                        x_stride,
                        left,
                        panel,
                        steps,
                        sizes,
                        channel_scales + at,
                        corrections + at,
                        biases,
                        more,
                        more_stride,
                        to,
                        to_stride,
                    )
                if kind != 0:
                    vectors = done * PANEL // WIDTH
                    activate(kind, scratch, vectors, final if full else scratch, 4 * (out_stride if full else PANEL))
                if not full:
                    keep(
                        scratch,
                        done,
                        width,
                        final,
                        out_stride,
                        added + 4 * r * added_stride + at if added != 0 else 0,
                        added_stride,
                    )
                r += done


@compiled
def keep(sums: int, rows: int, width: int, out: int, out_stride: int, added: int, added_stride: int) -> None:
    """out (rows, width) = sums (rows, 32) + added, of a panel that is not full, or after an activation."""
    for r in range(rows):
        made, to = floats_at(sums + 4 * r * PANEL, width), floats_at(out + 4 * r * out_stride, width)
        if added == 0:
            for c in range(width):
                to[c] = made[c]
        else:
            more = floats_at(added + 4 * r * added_stride, width)
            for c in range(width):
                to[c] = made[c] + more[c]


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
def combine(kind: int, a: int, b: int, out: int, width: int) -> None:
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
def scale(x: int, out: int, width: int, by: np.float32) -> None:
    """One row times a number."""
    row, to = floats_at(x, width), floats_at(out, width)
    for i in range(width):
        to[i] = row[i] * by


@compiled
def turn(x: int, heads: int, size: int, pairs: int, interleaved: int, cosines: int, sines: int) -> None:
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
