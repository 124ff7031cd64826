"""Linear layers: rows times a weight in panels, of each kind that a weight is kept in."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conjoin.engine.kernels.compiling import Kernel, compiled
from conjoin.engine.kernels.executor import barrier, scratch_of, share
from conjoin.engine.kernels.instructions import as_int, bytes_at, floats_at, int16s_at, moved, number, place
from conjoin.engine.kernels.layout import GROUP, PANEL, Fact, Mode
from conjoin.engine.kernels.products import finished_block
from conjoin.engine.kernels.rows import activate
from conjoin.engine.kernels.vectors import WIDTH, as_bytes, greatest

__all__ = ["LINEARS"]

AHEAD = 8192  # bytes of weights that one block of rows asks for before it multiplies them
TILE = 96  # rows that stay in the cache while a thread goes through its panels
FEW = 2  # rows that each thread makes narrow for itself, rather than wait for another's
ROWS, COUNTER = int(Fact.ROWS), int(Fact.COUNTER)
NARROWED, ROW_SCALES = int(Fact.NARROWED), int(Fact.ROW_SCALES)

float_block, half_block, byte_block = (finished_block(kind) for kind in ("float32", "bfloat16", "int8"))
wide_half_block, wide_byte_block, wide_nibble_block = (
    finished_block(kind) for kind in ("float16", "int8 weights", "int4 weights")
)


@compiled
def as_halves(x: int, width: int, out: int, scale: int) -> None:
    """A row of float32 as bfloat16, rounded to even; a zero fills the last step."""
    numbers, halves = floats_at(x, width), int16s_at(out, width + (width & 1))
    for i in range(width):
        bits = np.uint32(as_int(numbers[i]))
        halves[i] = np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))
    if width & 1:
        halves[width] = np.uint16(0)


@compiled
def as_int8(x: int, width: int, out: int, scale: int) -> None:
    """A row of float32 as bytes around 128, and its scale; zeros fill the last step."""
    numbers = floats_at(x, width)
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
    floats_at(scale, 1)[0] = most / np.float32(127)


def narrowing(narrow: Callable[[int, int, int, int], None]) -> Any:
    """(operation, buffers, facts, steps, thread, threads, turns) -> rows of `steps` times 4 bytes, their scales, barriers passed.

    Rows and scales are addresses; `narrow` makes one row.
    """

    @compiled
    def narrowed(
        op: int, buffers: int, facts: int, steps: int, thread: int, threads: int, turns: int
    ) -> tuple[int, int, int]:
        rows, inputs, x, stride = number(facts, ROWS), number(op, 12), place(buffers, op, 1), number(op, 3)
        made, scales, mine = number(facts, NARROWED), number(facts, ROW_SCALES), share(rows, thread, threads)
        if rows <= FEW:
            mine = range(rows)
            made = scratch_of(facts, thread) + 12 * PANEL * 4
            scales = moved(made, rows, steps)
        for r in mine:
            narrow(moved(x, r, stride), inputs, moved(made, r, steps), scales + 4 * r)
        if rows > FEW:
            turns += 1
            barrier(number(facts, COUNTER), turns, threads)
        return made, scales, turns

    return narrowed


in_halves, in_bytes = narrowing(as_halves), narrowing(as_int8)


def float32(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """Weights in float32."""
    multiply_floats(float_block, op, buffers, facts, number(op, 12), 0, thread, threads)
    return turns


def float16(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """Weights in float16, rows in float32."""
    multiply_floats(wide_half_block, op, buffers, facts, number(op, 12) // 2, 0, thread, threads)
    return turns


def int8_weights(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """Weights in int8, with a scale a channel; rows in float32."""
    multiply_floats(wide_byte_block, op, buffers, facts, number(op, 12) // 4, 4, thread, threads)
    return turns


def int4_weights(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """Weights in int4, with float16 scales of a channel's groups; rows in float32."""
    steps = number(op, 12) // 8
    scales = 2 * ((8 * steps + GROUP - 1) // GROUP)
    multiply_floats(wide_nibble_block, op, buffers, facts, steps, scales, thread, threads)
    return turns


def bfloat16(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """Weights and rows in bfloat16."""
    steps = (number(op, 12) + 1) // 2
    x, _, turns = in_halves(op, buffers, facts, steps, thread, threads, turns)
    multiply(half_block, op, buffers, facts, x, 4 * steps, steps, 0, 0, thread, threads)
    return turns


def int8(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """Weights in int8 with a scale a channel, rows in int8 with one of their own."""
    steps = (number(op, 12) + 3) // 4
    x, scales, turns = in_bytes(op, buffers, facts, steps, thread, threads, turns)
    multiply(byte_block, op, buffers, facts, x, 4 * steps, steps, scales, 4, thread, threads)
    return turns


LINEARS = {
    Mode.FLOAT32: Kernel(float32),
    Mode.BFLOAT16: Kernel(bfloat16),
    Mode.INT8: Kernel(int8),
    Mode.FLOAT16: Kernel(float16),
    Mode.INT8_WEIGHTS: Kernel(int8_weights),
    Mode.INT4_WEIGHTS: Kernel(int4_weights),
}


@compiled
def multiply_floats(
    block: object, op: int, buffers: int, facts: int, steps: int, scale_bytes: int, thread: int, threads: int
) -> None:
    """As `multiply`, of rows in float32, as they are."""
    x, stride = place(buffers, op, 1), 4 * number(op, 3)
    multiply(block, op, buffers, facts, x, stride, steps, 0, scale_bytes, thread, threads)


@compiled
def multiply(
    block: object,
    op: int,
    buffers: int,
    facts: int,
    x: int,
    x_stride: int,
    steps: int,
    row_scales: int,
    scale_bytes: int,
    thread: int,
    threads: int,
) -> None:
    """A thread's panels of out (rows, outputs) = act(x W + bias) + added, by `block`; strides of x are bytes.

    A row of x has `steps` times 4 bytes or numbers; `row_scales` is the address of its scales, where there are any, and a channel
    has `scale_bytes` of them.
    """
    rows, weight, outputs, kind = number(facts, ROWS), number(op, 7), number(op, 13), number(op, 14)
    scales, corrections, bias = number(op, 9), number(op, 10), number(op, 11)
    out, out_stride, added_stride = place(buffers, op, 4), 4 * number(op, 6), 4 * number(op, 17)
    added = 0 if number(op, 15) < 0 else place(buffers, op, 15)
    scratch, panels = scratch_of(facts, thread), (outputs + PANEL - 1) // PANEL
    ahead = 4 * PANEL * steps  # the next panel, which comes while several blocks of rows read this one
    if rows <= 8:  # one block
        ahead = min(AHEAD, ahead)
    for top in range(0, rows, TILE):
        below = min(rows, top + TILE)
        for g in share(panels, thread, threads):
            channel = g * PANEL
            panel, at = weight + channel * 4 * steps, 4 * channel
            width = min(PANEL, outputs - channel)
            biases = bias + at if bias != 0 else 0
            full = width == PANEL and (kind == 0 or added == 0)
            r = top
            while r < below:
                final, more = out + r * out_stride + at, added + r * added_stride + at if added != 0 else 0
                to, to_stride = (final, out_stride) if full and kind == 0 else (scratch, 4 * PANEL)
                done = block(
                    x + r * x_stride,
                    x_stride,
                    next_rows(below - r),
                    panel,
                    ahead,
                    steps,
                    row_scales + 4 * r,
                    scales + scale_bytes * channel,
                    corrections + at,
                    biases,
                    more if full else 0,
                    added_stride,
                    to,
                    to_stride,
                )
                if kind != 0:
                    vectors = done * PANEL // WIDTH
                    activate(kind, scratch, vectors, final if full else scratch, out_stride if full else 4 * PANEL)
                if not full:
                    keep(scratch, done, width, final, out_stride, more, added_stride)
                r += done


@compiled
def next_rows(left: int) -> int:
    """How many of the rows that are left a product takes next, at most: so many that none of the following has fewer than four.

    One of fewer takes as long as one of four: each step waits for the sums of the one before.
    """
    if 12 < left < 16:
        return 8
    return left - 4 if 8 < left < 12 else left


@compiled
def keep(sums: int, rows: int, width: int, out: int, out_stride: int, added: int, added_stride: int) -> None:
    """out (rows, width) = sums (rows, 32) + added, of a panel that is not full, or after an activation. Strides are bytes."""
    for r in range(rows):
        made, to = floats_at(sums + 4 * r * PANEL, width), floats_at(out + r * out_stride, width)
        if added == 0:
            for c in range(width):
                to[c] = made[c]
        else:
            more = floats_at(added + r * added_stride, width)
            for c in range(width):
                to[c] = made[c] + more[c]
