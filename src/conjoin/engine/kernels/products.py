"""Products of a few rows with a panel of a weight.

A panel is 32 output channels of a linear layer's weight, in the order in which one pass reads them: for each step of the input
(4 bytes of a row: one float32, two bfloat16 or four int8 numbers) the channels one after another. A product keeps the sums of
up to 12 rows and 32 channels in vector registers and reads each weight once. The sum of a row and channel is made in the same
order whatever rows stand beside it, so that results never depend on a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from conjoin.engine.kernels.layout import PANEL
from conjoin.engine.kernels.registers import (
    F32,
    FLOATS,
    I32,
    I64,
    INTS,
    VECTOR,
    called,
    fetch,
    fused_multiply_add,
    spread,
    vector_at,
)
from conjoin.engine.kernels.widened import scales_at, widened_byte, widened_half, widened_nibble
from conjoin.engine.machine import has_halves

__all__ = ["BLOCKS", "block", "finished_block"]

BLOCKS = (12, 8, 7, 6, 5, 4, 3, 2, 1)  # how many rows a product is made for


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    null = "0.0"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)

    def __str__(self) -> str:
        return "bfloat"

    def _to_string(self) -> str:
        return "bfloat"


HALVES = ir.VectorType(BFloat(), 2 * VECTOR)


def dot_of_bytes(b: Any, total: Any, x: Any, w: Any) -> Any:
    """Four unsigned bytes of a row and four signed ones of each weight."""
    return called(b, "llvm.x86.avx512.vpdpbusd.512", INTS, total, x, b.bitcast(w, INTS))


def dot_of_halves(b: Any, total: Any, x: Any, w: Any) -> Any:
    """Two bfloat16 numbers of each."""
    return called(b, "llvm.x86.avx512bf16.dpbf16ps.512", FLOATS, total, b.bitcast(x, HALVES), b.bitcast(w, HALVES))


def dot_of_shifted_halves(b: Any, total: Any, x: Any, w: Any) -> Any:
    """The same on a CPU that has no such instruction: a bfloat16 number is the upper half of a float32 one."""
    upper = ir.Constant(INTS, [-65536] * VECTOR)
    half = ir.Constant(INTS, [16] * VECTOR)
    x, w = b.bitcast(x, INTS), b.bitcast(w, INTS)
    for x_part, w_part in ((b.shl(x, half), b.shl(w, half)), (b.and_(x, upper), b.and_(w, upper))):
        total = fused_multiply_add(b, total, x_part, b.bitcast(w_part, FLOATS))
    return total


@dataclass(frozen=True)
class Kind:
    """How one step multiplies: `parts` makes of 64 bytes of weights one vector for each 4 bytes of a row that a step reads."""

    sums: Any
    dot: Callable[..., Any]
    numbers: int = 1  # of 4 bytes of a row that a step reads
    part: Callable[[Any, Any, int], Any] = lambda b, weights, k: weights
    scaled: bool = False  # whether float32 sums are scaled by channel
    grouped: bool = False  # whether weights have scales by groups of inputs, float16, 32 channels together


KINDS = {
    "float32": Kind(FLOATS, fused_multiply_add),
    "bfloat16": Kind(FLOATS, dot_of_halves if has_halves() else dot_of_shifted_halves),
    "int8": Kind(INTS, dot_of_bytes),
    # Weights that are widened to float32, beside rows that are float32.
    "float16": Kind(FLOATS, fused_multiply_add, 2, widened_half),
    "int8 weights": Kind(FLOATS, fused_multiply_add, 4, widened_byte, scaled=True),
    "int4 weights": Kind(FLOATS, fused_multiply_add, 8, widened_nibble, grouped=True),
}


def block(kind: str) -> Any:
    """(x, stride, rows, panel, steps, out, out stride, scales) -> done: out (done, 32) = rows of x, times a panel and scales.

    `done` is the largest of BLOCKS that is not above `rows`. All are addresses or numbers of bytes.
    """

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        x, stride, rows, panel, steps, out, out_stride, scales = given

        def emit(count: int) -> None:
            for r, totals in enumerate(emit_sums(b, KINDS[kind], count, x, stride, panel, steps)):
                by = spread(b, number_at(b, scales, 4 * r, F32))
                for v, total in enumerate(totals):
                    store(b, b.fmul(total, by), out, out_stride, r, v)

        return by_count(b, rows, emit)

    @intrinsic  # type: ignore[untyped-decorator]
    def run(
        typing: Any, x: Any, stride: Any, rows: Any, panel: Any, steps: Any, out: Any, out_stride: Any, scales: Any
    ) -> Any:
        return types.int64(*[types.int64] * 8), code

    return run


def finished_block(kind: str) -> Any:
    """(x, stride, rows, panel, ahead, steps, row scales, scales, corrections, bias, added, its stride, out, out stride) -> done.

    As `block`, of a linear layer: out (done, 32) = x W + bias + added, in float32. Of int8 numbers the sums are scaled by row and
    channel, after what 128 added to each channel is taken away; int4 weights are scaled by group. Bias and added may be 0: none.
    Each step asks for the weights that stand so many bytes `ahead`; with the most rows that a block has, for the next panel's.
    """
    how = KINDS[kind]

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        x, stride, rows, panel, ahead, steps, row_scales, scales, corrections, bias, added, *to = given
        added_stride, out, out_stride = to
        none = cgutils.global_constant(b, "zeros", ir.Constant(ir.ArrayType(F32, PANEL), None))
        zeros = b.ptrtoint(none, I64)
        bias = b.select(b.icmp_signed("==", bias, I64(0)), zeros, bias)
        added_stride = b.select(b.icmp_signed("==", added, I64(0)), I64(0), added_stride)
        added = b.select(b.icmp_signed("==", added, I64(0)), zeros, added)

        def emit(count: int) -> None:
            sums = emit_sums(b, how, count, x, stride, panel, steps, ahead if count < BLOCKS[0] else None, scales)
            biases = [vector_at(b, bias, 64 * v) for v in range(PANEL // VECTOR)]
            if how.sums is INTS:
                sums = scaled_sums(b, sums, row_scales, scales, corrections, biases)
            elif how.scaled:
                by = [vector_at(b, scales, 64 * v) for v in range(PANEL // VECTOR)]
                sums = [[fused_multiply_add(b, *each) for each in zip(biases, row, by, strict=True)] for row in sums]
            else:
                sums = [[b.fadd(total, more) for total, more in zip(row, biases, strict=True)] for row in sums]
            for r, totals in enumerate(sums):
                more = b.add(added, b.mul(added_stride, I64(r)))
                for v, total in enumerate(totals):
                    store(b, b.fadd(total, vector_at(b, more, 64 * v)), out, out_stride, r, v)

        return by_count(b, rows, emit)

    @intrinsic  # type: ignore[untyped-decorator]
    def run(
        typing: Any,
        x: Any,
        stride: Any,
        rows: Any,
        panel: Any,
        ahead: Any,
        steps: Any,
        row_scales: Any,
        scales: Any,
        corrections: Any,
        bias: Any,
        added: Any,
        added_stride: Any,
        out: Any,
        out_stride: Any,
    ) -> Any:
        return types.int64(*[types.int64] * 14), code

    return run


def store(b: Any, made: Any, out: Any, stride: Any, r: int, v: int) -> None:
    """Writes the `v`th vector of row `r`."""
    place = b.add(b.add(out, b.mul(stride, I64(r))), I64(64 * v))
    b.store(made, b.inttoptr(place, FLOATS.as_pointer())).align = 4


def scaled_sums(
    b: Any, sums: list[list[Any]], row_scales: Any, scales: Any, corrections: Any, biases: list[Any]
) -> list[list[Any]]:
    """Sums of bytes as the float32 numbers that they stand for, and biases.

    What is rounded once is written so: LLVM would choose by the number of rows, and a row may not hang on those beside it.
    """
    vectors = range(PANEL // VECTOR)
    by = [vector_at(b, scales, 64 * v) for v in vectors]
    less = [vector_at(b, corrections, 64 * v) for v in vectors]
    made = []
    for r, totals in enumerate(sums):
        size = spread(b, number_at(b, row_scales, 4 * r, F32))
        whole = [b.fsub(b.sitofp(totals[v], FLOATS), less[v]) for v in vectors]
        made.append([fused_multiply_add(b, biases[v], whole[v], b.fmul(by[v], size)) for v in vectors])
    return made


def number_at(b: Any, address: Any, bytes_on: int, kind: Any = I32) -> Any:
    """One number of 4 bytes."""
    loaded = b.load(b.inttoptr(b.add(address, I64(bytes_on)), kind.as_pointer()))
    loaded.align = 4
    return loaded


def by_count(b: Any, rows: Any, emit: Callable[[int], None]) -> Any:
    """The code that `emit` writes for the largest of BLOCKS that is not above `rows`: which one it was."""
    end = b.append_basic_block("done")
    reached = []
    for count in BLOCKS:
        enough, fewer = b.append_basic_block(f"rows{count}"), b.append_basic_block("fewer")
        b.cbranch(b.icmp_signed(">=", rows, I64(count)), enough, fewer)
        b.position_at_end(enough)
        emit(count)
        reached.append((I64(count), b.block))
        b.branch(end)
        b.position_at_end(fewer)
    reached.append((I64(0), b.block))
    b.branch(end)
    b.position_at_end(end)
    done = b.phi(I64)
    for count, came_from in reached:
        done.add_incoming(count, came_from)
    return done


def emit_sums(
    b: Any, how: Kind, rows: int, x: Any, stride: Any, panel: Any, steps: Any, ahead: Any = None, scales: Any = None
) -> list[list[Any]]:
    """The sums of so many rows, which stay in registers: a loop over steps, each of which asks for what stands `ahead`.

    That is the next panel where nothing is said. `scales` are those of groups, where there are any.
    """
    vectors = PANEL // VECTOR
    zero = ir.Constant(how.sums, [0] * VECTOR)
    row = [x]
    for _ in range(1, rows):
        row.append(b.add(row[-1], stride))
    entry, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
    ahead = b.mul(steps, I64(4 * PANEL)) if ahead is None else ahead
    b.branch(loop)
    b.position_at_end(loop)
    step, at = b.phi(I64), b.phi(I64)
    step.add_incoming(I64(0), entry)
    at.add_incoming(panel, entry)
    totals = [[b.phi(how.sums) for _ in range(vectors)] for _ in range(rows)]
    for each in totals:
        for total in each:
            total.add_incoming(zero, entry)
    weights = [vector_at(b, at, 64 * v) for v in range(vectors)]
    for v in range(vectors):  # what comes from memory while this is multiplied
        fetch(b, b.add(b.add(at, ahead), I64(64 * v)))
    sizes = scales_at(b, scales, step, vectors) if how.grouped else []
    across, new = b.mul(step, I64(4 * how.numbers)), [list(each) for each in totals]
    for k in range(how.numbers):
        parts = [how.part(b, weight, k) for weight in weights]
        if how.grouped:
            parts = [b.fmul(part, size) for part, size in zip(parts, sizes, strict=True)]
        for r in range(rows):
            one = spread(b, number_at(b, b.add(row[r], across), 4 * k))
            new[r] = [how.dot(b, new[r][v], one, parts[v]) for v in range(vectors)]
    following, further = b.add(step, I64(1)), b.add(at, I64(4 * PANEL))
    step.add_incoming(following, b.block)
    at.add_incoming(further, b.block)
    for r in range(rows):
        for v in range(vectors):
            totals[r][v].add_incoming(new[r][v], b.block)
    b.cbranch(b.icmp_signed("<", following, steps), loop, end)
    b.position_at_end(end)
    return new
