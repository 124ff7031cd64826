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
from numba.extending import intrinsic

from conjoin.engine.kernels.layout import PANEL
from conjoin.engine.kernels.registers import (
    FLOATS,
    I32,
    I64,
    INTS,
    VECTOR,
    called,
    fused_multiply_add,
    spread,
    vector_at,
)
from conjoin.engine.kernels.widened import widened_half
from conjoin.engine.machine import has_halves

__all__ = ["BLOCKS", "block"]

BLOCKS = (12, 8, 4, 2, 1)  # how many rows a product is made for


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


KINDS = {
    "float32": Kind(FLOATS, fused_multiply_add),
    "bfloat16": Kind(FLOATS, dot_of_halves if has_halves() else dot_of_shifted_halves),
    "int8": Kind(INTS, dot_of_bytes),
    # Weights that are widened to float32, beside rows that are float32.
    "float16": Kind(FLOATS, fused_multiply_add, 2, widened_half),
}


def block(kind: str) -> Any:
    """(x, stride, rows, panel, panel stride, steps, out) -> done: out (done, 32) = the first rows of x times a panel.

    `done` is the largest of BLOCKS that is not above `rows`. All are addresses or numbers of bytes; a panel's vectors of 64 bytes
    are `panel stride` apart from step to step. Sums of int8 numbers are int32.
    """
    how = KINDS[kind]

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        x, stride, rows, *rest = given
        end = b.append_basic_block("done")
        reached = []
        for count in BLOCKS:
            enough, fewer = b.append_basic_block(f"rows{count}"), b.append_basic_block("fewer")
            b.cbranch(b.icmp_signed(">=", rows, I64(count)), enough, fewer)
            b.position_at_end(enough)
            emit_product(b, how, count, x, stride, *rest)
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

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, x: Any, stride: Any, rows: Any, panel: Any, panel_stride: Any, steps: Any, out: Any) -> Any:
        return types.int64(*[types.int64] * 7), code

    return run


def emit_product(
    b: Any,
    how: Kind,
    rows: int,
    x: Any,
    stride: Any,
    panel: Any,
    panel_stride: Any,
    steps: Any,
    out: Any,
) -> None:
    """The product of so many rows: a loop over steps, its sums in registers."""
    vectors = PANEL // VECTOR
    zero = ir.Constant(how.sums, [0] * VECTOR)
    row = [x]
    for _ in range(1, rows):
        row.append(b.add(row[-1], stride))
    entry, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
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
    across, new = b.mul(step, I64(4 * how.numbers)), [list(each) for each in totals]
    for k in range(how.numbers):
        parts = [how.part(b, weight, k) for weight in weights]
        for r in range(rows):
            one = b.load(b.inttoptr(b.add(row[r], b.add(across, I64(4 * k))), I32.as_pointer()))
            one.align = 4
            new[r] = [how.dot(b, new[r][v], spread(b, one), parts[v]) for v in range(vectors)]
    following, further = b.add(step, I64(1)), b.add(at, panel_stride)
    step.add_incoming(following, b.block)
    at.add_incoming(further, b.block)
    for r in range(rows):
        for v in range(vectors):
            totals[r][v].add_incoming(new[r][v], b.block)
    b.cbranch(b.icmp_signed("<", following, steps), loop, end)
    b.position_at_end(end)
    for r in range(rows):
        for v in range(vectors):
            place = b.add(out, I64(4 * PANEL * r + 64 * v))
            b.store(new[r][v], b.inttoptr(place, how.sums.as_pointer())).align = 4
