"""Rows as columns: a square of sixteen times sixteen numbers in registers."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from conjoin.engine.kernels.registers import FLOATS, I64, INTS, VECTOR, vector_at

__all__ = ["transposed"]


@intrinsic  # type: ignore[untyped-decorator]
def transposed(typing: Any, x: Any, stride: Any, out: Any, out_stride: Any) -> Any:
    """(x, stride, out, out stride) -> None: sixteen rows of sixteen numbers, each column a row. Strides are bytes."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        x, stride, out, out_stride = given
        rows = [vector_at(b, b.add(x, b.mul(stride, I64(r))), 0) for r in range(VECTOR)]
        for size in (8, 4, 2, 1):  # blocks of so many: those off the diagonal change places
            for r in (r for r in range(VECTOR) if not r & size):
                pair = rows[r], rows[r + size]
                rows[r] = chosen(b, pair, [i - size + VECTOR if i & size else i for i in range(VECTOR)])
                rows[r + size] = chosen(b, pair, [i + VECTOR if i & size else i + size for i in range(VECTOR)])
        for r, row in enumerate(rows):
            b.store(row, b.inttoptr(b.add(out, b.mul(out_stride, I64(r))), FLOATS.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), code


def chosen(b: Any, pair: tuple[Any, Any], places: list[int]) -> Any:
    """Sixteen numbers of two vectors, by their places in both."""
    return b.shuffle_vector(*pair, ir.Constant(INTS, places))
