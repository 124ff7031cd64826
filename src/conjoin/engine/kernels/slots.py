"""Attention of one query over some slots of a cache, for the widths that heads have."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from conjoin.engine.kernels.registers import (
    F32,
    FLOATS,
    I32,
    I64,
    VECTOR,
    fused_multiply_add,
    spread,
    total_of,
    vector_at,
)

__all__ = ["mixture_of", "scores_of"]


def over_slots(b: Any, slots: Any, count: Any, carried: list[Any], body: Any) -> list[Any]:
    """A loop over numbers of slots (int32) at an address: `body` gets place, slot and what is carried, and gives that anew."""
    entry, loop, end = b.block, b.append_basic_block("slots"), b.append_basic_block("end")
    b.cbranch(b.icmp_signed(">", count, I64(0)), loop, end)
    b.position_at_end(loop)
    n, kept = b.phi(I64), [b.phi(x.type) for x in carried]
    n.add_incoming(I64(0), entry)
    for phi, x in zip(kept, carried, strict=True):
        phi.add_incoming(x, entry)
    slot = b.sext(b.load(b.inttoptr(b.add(slots, b.mul(n, I64(4))), I32.as_pointer())), I64)
    new, following = body(n, slot, kept), b.add(n, I64(1))
    n.add_incoming(following, b.block)
    for phi, x in zip(kept, new, strict=True):
        phi.add_incoming(x, b.block)
    last = b.block
    b.cbranch(b.icmp_signed("<", following, count), loop, end)
    b.position_at_end(end)
    result = [b.phi(x.type) for x in carried]
    for phi, x, y in zip(result, carried, new, strict=True):
        phi.add_incoming(x, entry)
        phi.add_incoming(y, last)
    return result


def scores_of(size: int) -> Any:
    """(query, keys, slots, count, scale, out) -> None: a query's products with the keys (size,) of some slots, times a scale."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, query: Any, keys: Any, slots: Any, count: Any, scale: Any, out: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            query, keys, slots, count, scale, out = given
            parts = [vector_at(b, query, 64 * v) for v in range(size // VECTOR)]

            def body(n: Any, slot: Any, _: Any) -> list[Any]:
                key = b.add(keys, b.mul(slot, I64(4 * size)))
                total = b.fmul(parts[0], vector_at(b, key, 0))
                for v, part in enumerate(parts[1:], 1):
                    total = fused_multiply_add(b, total, part, vector_at(b, key, 64 * v))
                score = b.fmul(total_of(b, total), scale)
                b.store(score, b.inttoptr(b.add(out, b.mul(n, I64(4))), F32.as_pointer()))
                return []

            over_slots(b, slots, count, [], body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4, types.float32, types.int64), code

    return run


def mixture_of(size: int) -> Any:
    """(weights, values, slots, count, over, out) -> None: the sum of the values (size,) of slots, by weights, times `over`."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, weights: Any, values: Any, slots: Any, count: Any, over: Any, out: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            weights, values, slots, count, over, out = given
            zero = ir.Constant(FLOATS, [0.0] * VECTOR)

            def body(n: Any, slot: Any, totals: list[Any]) -> list[Any]:
                value = b.add(values, b.mul(slot, I64(4 * size)))
                one = b.load(b.inttoptr(b.add(weights, b.mul(n, I64(4))), F32.as_pointer()))
                by = spread(b, one)
                return [fused_multiply_add(b, total, by, vector_at(b, value, 64 * v)) for v, total in enumerate(totals)]

            totals, by = over_slots(b, slots, count, [zero] * (size // VECTOR), body), spread(b, over)
            for v, total in enumerate(totals):
                b.store(b.fmul(total, by), b.inttoptr(b.add(out, I64(64 * v)), FLOATS.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4, types.float32, types.int64), code

    return run
