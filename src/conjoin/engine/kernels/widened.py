"""Weights that are kept in float16 and multiplied in float32: sixteen channels' numbers out of a register of 64 bytes."""

from typing import Any

from llvmlite import ir

from conjoin.engine.kernels.registers import FLOATS, INTS, VECTOR

__all__ = ["widened_half"]

HALF = ir.VectorType(ir.HalfType(), VECTOR)
SHORTS = ir.VectorType(ir.IntType(16), VECTOR)


def widened_half(b: Any, weights: Any, k: int) -> Any:
    """The k-th of the two float16 numbers that each channel's 4 bytes hold, the first in the lower bits."""
    bits = b.lshr(b.bitcast(weights, INTS), ir.Constant(INTS, [16 * k] * VECTOR))
    return b.fpext(b.bitcast(b.trunc(bits, SHORTS), HALF), FLOATS)
