"""Weights that are kept small and multiplied as float32: sixteen channels' numbers out of a register of 64 bytes.

Each channel's 4 bytes hold the numbers of two (float16), four (int8) or eight inputs (int4), the first in the lowest bits.
"""

from typing import Any

from llvmlite import ir

from conjoin.engine.kernels.layout import GROUP
from conjoin.engine.kernels.registers import FLOATS, I64, INTS, VECTOR

__all__ = ["scales_at", "widened_byte", "widened_half", "widened_nibble"]

HALF = ir.VectorType(ir.HalfType(), VECTOR)
SHORTS = ir.VectorType(ir.IntType(16), VECTOR)


def widened_half(b: Any, weights: Any, k: int) -> Any:
    """The k-th of two float16 numbers."""
    bits = b.lshr(b.bitcast(weights, INTS), everywhere(16 * k))
    return b.fpext(b.bitcast(b.trunc(bits, SHORTS), HALF), FLOATS)


def widened_byte(b: Any, weights: Any, k: int) -> Any:
    """The k-th of four int8 numbers."""
    return widened_bits(b, weights, 8, k)


def widened_nibble(b: Any, weights: Any, k: int) -> Any:
    """The k-th of eight int4 numbers."""
    return widened_bits(b, weights, 4, k)


def widened_bits(b: Any, weights: Any, size: int, k: int) -> Any:
    """The k-th whole number of so many bits, its sign with it."""
    upper = b.shl(b.bitcast(weights, INTS), everywhere(32 - size * (k + 1)))
    return b.sitofp(b.ashr(upper, everywhere(32 - size)), FLOATS)


def scales_at(b: Any, scales: Any, step: Any, vectors: int) -> list[Any]:
    """The scales of a step's group, float16 at an address: 32 channels of one group after another."""
    group = b.lshr(b.mul(step, I64(8)), I64(GROUP.bit_length() - 1))
    at = b.add(scales, b.mul(group, I64(2 * VECTOR * vectors)))
    found = []
    for v in range(vectors):
        loaded = b.load(b.inttoptr(b.add(at, I64(2 * VECTOR * v)), HALF.as_pointer()))
        loaded.align = 2
        found.append(b.fpext(loaded, FLOATS))
    return found


def everywhere(number: int) -> Any:
    """A whole number sixteen times."""
    return ir.Constant(INTS, [number] * VECTOR)
