"""Softmax of the scores of one query, or of four side by side: what is hidden behind their number is left out in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from conjoin.engine.kernels.registers import F32, FLOATS, I32, I64, INTS, VECTOR, in_order, largest_of, spread, total_of
from conjoin.engine.kernels.vectors import LOWEST, Vector, share

__all__ = ["soften", "soften_four"]


def over_vectors(b: Any, vectors: Any, carried: list[Any], body: Any) -> list[Any]:
    """A loop from 0 to `vectors`, of one at least: `body` gets the number and what is carried, and gives that anew."""
    entry, loop, end = b.block, b.append_basic_block("vectors"), b.append_basic_block("end")
    b.branch(loop)
    b.position_at_end(loop)
    n, kept = b.phi(I64), [b.phi(x.type) for x in carried]
    new, following = body(n, kept), b.add(n, I64(1))
    n.add_incoming(I64(0), entry)
    n.add_incoming(following, b.block)
    for phi, x, y in zip(kept, carried, new, strict=True):
        phi.add_incoming(x, entry)
        phi.add_incoming(y, b.block)
    b.cbranch(b.icmp_signed("<", following, vectors), loop, end)
    b.position_at_end(end)
    return new


def softening(rows: int) -> Any:
    """(address, stride, count, overs) -> None: exp(x - the largest) of `rows` rows of `count` numbers, in place.

    Up to fifteen more behind them become 0. At `overs` is written what each row is still to be multiplied by: 1 over
    its sum, or 0 where all are the lowest. Strides are bytes.
    """

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        address, stride, count, overs = given
        vectors = b.lshr(b.add(count, I64(VECTOR - 1)), I64(VECTOR.bit_length() - 1))
        starts = [b.add(address, b.mul(stride, I64(r))) for r in range(rows)]
        lowest, zeros = ir.Constant(FLOATS, [LOWEST] * VECTOR), ir.Constant(FLOATS, [0.0] * VECTOR)

        def places(n: Any) -> tuple[list[Any], Any]:
            """Where the n-th vector of each row is, and which of its numbers count."""
            left = b.trunc(b.sub(count, b.mul(n, I64(VECTOR))), I32)
            at = b.mul(n, I64(4 * VECTOR))
            each = [b.inttoptr(b.add(start, at), FLOATS.as_pointer()) for start in starts]
            return each, b.icmp_signed(">", spread(b, left), ir.Constant(INTS, list(range(VECTOR))))

        def greater(n: Any, best: list[Any]) -> list[Any]:
            each, counts = places(n)
            loaded = [b.select(counts, b.load(at, align=4), lowest) for at in each]
            return [b.select(b.fcmp_ordered(">", x, y), x, y) for x, y in zip(loaded, best, strict=True)]

        best = [largest_of(b, x) for x in over_vectors(b, vectors, [lowest] * rows, greater)]
        less = [Vector(b, spread(b, x)) for x in best]

        def summed(n: Any, totals: list[Any]) -> list[Any]:
            each, counts = places(n)
            made = [
                b.select(counts, share(Vector(b, b.load(at, align=4)) - low).value, zeros)
                for at, low in zip(each, less, strict=True)
            ]
            for at, x in zip(each, made, strict=True):
                b.store(x, at, align=4)
            return [in_order(b, total, x) for total, x in zip(totals, made, strict=True)]

        totals = over_vectors(b, vectors, [zeros] * rows, summed)
        for r, total in enumerate(totals):
            seen = b.fcmp_ordered(">", best[r], F32(LOWEST))
            over = b.select(seen, b.fdiv(F32(1.0), total_of(b, total)), F32(0.0))
            b.store(over, b.inttoptr(b.add(overs, I64(4 * r)), F32.as_pointer()))
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, address: Any, stride: Any, count: Any, overs: Any) -> Any:
        return types.void(*[types.int64] * 4), code

    return run


soften, soften_four = softening(1), softening(4)
