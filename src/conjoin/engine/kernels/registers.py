"""What kernels in LLVM's vector instructions are made of: the types, and loading and filling a register."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

__all__ = [
    "F32",
    "FLOATS",
    "I32",
    "I64",
    "INTS",
    "VECTOR",
    "called",
    "fetch",
    "fused_multiply_add",
    "in_order",
    "largest_of",
    "spread",
    "total_of",
    "vector_at",
]

VECTOR = 16  # numbers of 4 bytes
I32, I64, F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS = ir.VectorType(F32, VECTOR), ir.VectorType(I32, VECTOR)


def called(b: Any, name: str, result: Any, *given: Any) -> Any:
    """A call of one of LLVM's intrinsic functions."""
    function = ir.FunctionType(result, [x.type for x in given])
    return b.call(cgutils.get_or_insert_function(b.module, function, name), given)


def fused_multiply_add(b: Any, total: Any, x: Any, w: Any) -> Any:
    """total + x * w, rounded once."""
    return called(b, "llvm.fma.v16f32", FLOATS, b.bitcast(x, FLOATS), w, total)


def vector_at(b: Any, address: Any, bytes_on: int) -> Any:
    """Sixteen float32 numbers."""
    loaded = b.load(b.inttoptr(b.add(address, I64(bytes_on)), FLOATS.as_pointer()))
    loaded.align = 4
    return loaded


def fetch(b: Any, address: Any) -> None:
    """Lets the line of 64 bytes at an address come into the second cache; the address may be anything."""
    line = b.inttoptr(address, ir.IntType(8).as_pointer())
    function = ir.FunctionType(ir.VoidType(), [line.type, I32, I32, I32])
    b.call(b.module.declare_intrinsic("llvm.prefetch", [line.type], function), [line, I32(0), I32(2), I32(1)])


def spread(b: Any, number: Any) -> Any:
    """One number of 4 bytes sixteen times."""
    none = ir.Constant(ir.VectorType(number.type, VECTOR), ir.Undefined)
    return b.shuffle_vector(b.insert_element(none, number, I32(0)), none, ir.Constant(INTS, [0] * VECTOR))


def total_of(b: Any, vector: Any) -> Any:
    """The sum of a vector."""
    function = ir.FunctionType(F32, [F32, FLOATS])
    adding = cgutils.get_or_insert_function(b.module, function, "llvm.vector.reduce.fadd.v16f32")
    return b.call(adding, [F32(-0.0), vector], fastmath=("reassoc",))


def largest_of(b: Any, vector: Any) -> Any:
    """The largest number of a vector."""
    function = ir.FunctionType(F32, [FLOATS])
    return b.call(
        cgutils.get_or_insert_function(b.module, function, "llvm.vector.reduce.fmax.v16f32"),
        [vector],
        fastmath=("nnan",),
    )


def in_order(b: Any, total: Any, more: Any) -> Any:
    """total + more, in no other order.

    Numba lets every addition that has no flag of its own be moved; where LLVM unrolls a loop, it then adds up what is left over
    differently, so that a sum would hang on how many zeros stand behind it.
    """
    return b.fadd(total, more, flags=("nsz",))
