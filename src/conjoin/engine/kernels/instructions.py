"""Single instructions that Numba has no name for: addresses, atomic counters, waiting, and products of panels.

A panel is 32 output channels of a linear layer's weight, in the order in which one pass reads them: for each step of the input
(4 bytes of a row: one float32, two bfloat16 or four int8 numbers) the channels one after another. A product keeps the sums of
up to 12 rows and 32 channels in vector registers and reads each weight once. The sum of a row and channel is made in the same
order whatever rows stand beside it, so that results never depend on a batch.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from conjoin.engine.kernels.layout import PANEL

__all__ = [
    "add_atomic",
    "as_float",
    "as_int",
    "bytes_at",
    "doubles_at",
    "floats_at",
    "int16s_at",
    "int32s_at",
    "int64s_at",
    "load_atomic",
    "mixture_of",
    "pause",
    "product",
    "scores_of",
    "sleep_while",
    "store_atomic",
    "wake",
    "yield_core",
]

VECTOR = 16  # numbers of 4 bytes

I1, I32, I64, F32 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS = ir.VectorType(F32, VECTOR), ir.VectorType(I32, VECTOR)


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


# Products of panels.


def fused_multiply_add(b: Any, total: Any, x: Any, w: Any) -> Any:
    """One float32 of each row."""
    function = ir.FunctionType(FLOATS, [FLOATS] * 3)
    return b.call(
        cgutils.get_or_insert_function(b.module, function, "llvm.fma.v16f32"), [b.bitcast(x, FLOATS), w, total]
    )


def dot_of_bytes(b: Any, total: Any, x: Any, w: Any) -> Any:
    """Four unsigned bytes of a row and four signed ones of each weight."""
    function = ir.FunctionType(INTS, [INTS] * 3)
    called = cgutils.get_or_insert_function(b.module, function, "llvm.x86.avx512.vpdpbusd.512")
    return b.call(called, [total, x, b.bitcast(w, INTS)])


def dot_of_halves(b: Any, total: Any, x: Any, w: Any) -> Any:
    """Two bfloat16 numbers of each."""
    function = ir.FunctionType(FLOATS, [FLOATS, HALVES, HALVES])
    called = cgutils.get_or_insert_function(b.module, function, "llvm.x86.avx512bf16.dpbf16ps.512")
    return b.call(called, [total, b.bitcast(x, HALVES), b.bitcast(w, HALVES)])


DOTS = {"float32": (fused_multiply_add, FLOATS), "int8": (dot_of_bytes, INTS), "bfloat16": (dot_of_halves, FLOATS)}


def product(kind: str, rows: int) -> Any:
    """(x, stride, panel, panel stride, steps, out) -> None: out (rows, 32) = rows of x times a panel.

    All are addresses or numbers of bytes; a panel's vectors of 64 bytes are `panel stride` apart from step to step. Sums of int8
    numbers are int32.
    """
    dot, sums = DOTS[kind]
    vectors = PANEL // VECTOR

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, x: Any, stride: Any, panel: Any, panel_stride: Any, steps: Any, out: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            x, stride, panel, panel_stride, steps, out = given
            zero = ir.Constant(sums, [0] * VECTOR)
            none = ir.Constant(INTS, ir.Undefined)
            row = [x]
            for _ in range(1, rows):
                row.append(b.add(row[-1], stride))
            entry, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
            b.branch(loop)
            b.position_at_end(loop)
            step, at = b.phi(I64), b.phi(I64)
            step.add_incoming(I64(0), entry)
            at.add_incoming(panel, entry)
            totals = [[b.phi(sums) for _ in range(vectors)] for _ in range(rows)]
            for each in totals:
                for total in each:
                    total.add_incoming(zero, entry)
            weights = []
            for v in range(vectors):
                loaded = b.load(b.inttoptr(b.add(at, I64(64 * v)), FLOATS.as_pointer()))
                loaded.align = 4
                weights.append(loaded)
            across = b.mul(step, I64(4))
            new = []
            for r in range(rows):
                one = b.load(b.inttoptr(b.add(row[r], across), I32.as_pointer()))
                one.align = 4
                spread = b.insert_element(none, one, I32(0))
                spread = b.shuffle_vector(spread, none, ir.Constant(INTS, [0] * VECTOR))
                new.append([dot(b, totals[r][v], spread, weights[v]) for v in range(vectors)])
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
                    b.store(new[r][v], b.inttoptr(place, sums.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), code

    return run


# Attention over slots of a cache.


def vector_at(b: Any, address: Any, bytes_on: int) -> Any:
    """Sixteen float32 numbers."""
    loaded = b.load(b.inttoptr(b.add(address, I64(bytes_on)), FLOATS.as_pointer()))
    loaded.align = 4
    return loaded


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
    """(query, keys, slots, count, out) -> None: a query's products with the keys (size,) of some slots."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, query: Any, keys: Any, slots: Any, count: Any, out: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            query, keys, slots, count, out = given
            parts = [vector_at(b, query, 64 * v) for v in range(size // VECTOR)]
            kind = ir.FunctionType(F32, [F32, FLOATS])
            adding = cgutils.get_or_insert_function(b.module, kind, "llvm.vector.reduce.fadd.v16f32")

            def body(n: Any, slot: Any, _: Any) -> list[Any]:
                key = b.add(keys, b.mul(slot, I64(4 * size)))
                total = b.fmul(parts[0], vector_at(b, key, 0))
                for v, part in enumerate(parts[1:], 1):
                    total = fused_multiply_add(b, total, part, vector_at(b, key, 64 * v))
                score = b.call(adding, [F32(-0.0), total], fastmath=("reassoc",))
                b.store(score, b.inttoptr(b.add(out, b.mul(n, I64(4))), F32.as_pointer()))
                return []

            over_slots(b, slots, count, [], body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), code

    return run


def mixture_of(size: int) -> Any:
    """(weights, values, slots, count, out) -> None: the sum of the values (size,) of some slots, by weights."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, weights: Any, values: Any, slots: Any, count: Any, out: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            weights, values, slots, count, out = given
            none = ir.Constant(FLOATS, ir.Undefined)
            zero = ir.Constant(FLOATS, [0.0] * VECTOR)

            def body(n: Any, slot: Any, totals: list[Any]) -> list[Any]:
                value = b.add(values, b.mul(slot, I64(4 * size)))
                one = b.load(b.inttoptr(b.add(weights, b.mul(n, I64(4))), F32.as_pointer()))
                spread = b.shuffle_vector(b.insert_element(none, one, I32(0)), none, ir.Constant(INTS, [0] * VECTOR))
                return [
                    fused_multiply_add(b, total, spread, vector_at(b, value, 64 * v)) for v, total in enumerate(totals)
                ]

            totals = over_slots(b, slots, count, [zero] * (size // VECTOR), body)
            for v, total in enumerate(totals):
                b.store(total, b.inttoptr(b.add(out, I64(64 * v)), FLOATS.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), code

    return run


# Memory by address.


def array_at(element: Any) -> Any:
    """(address, length) -> an array there."""
    kind = types.Array(element, 1, "C")

    @intrinsic  # type: ignore[untyped-decorator]
    def viewed(typing: Any, address: Any, length: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            address, length = given
            array = context.make_array(kind)(context, b)
            size = context.get_abi_sizeof(context.get_data_type(element))
            context.populate_array(
                array,
                data=b.inttoptr(address, array.data.type),
                shape=[length],
                strides=[I64(size)],
                itemsize=I64(size),
                meminfo=None,
            )
            return array._getvalue()

        return kind(types.int64, types.int64), code

    return viewed


floats_at = array_at(types.float32)
doubles_at = array_at(types.float64)
int64s_at = array_at(types.int64)
int32s_at = array_at(types.int32)
int16s_at = array_at(types.uint16)
bytes_at = array_at(types.uint8)


def cast(source: Any, target: Any, pointer: Any) -> Any:
    """The same 4 bytes as another type."""

    @intrinsic  # type: ignore[untyped-decorator]
    def same(typing: Any, x: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            return b.bitcast(given[0], pointer)

        return target(source), code

    return same


as_float = cast(types.int32, types.float32, F32)
as_int = cast(types.float32, types.int32, I32)


# Threads.


@intrinsic  # type: ignore[untyped-decorator]
def add_atomic(typing: Any, address: Any, value: Any) -> Any:
    """Adds to a whole number of 8 bytes and gives what it was."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        return b.atomic_rmw("add", b.inttoptr(given[0], I64.as_pointer()), given[1], "seq_cst")

    return types.int64(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def load_atomic(typing: Any, address: Any) -> Any:
    """A whole number of 8 bytes that another thread may write."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        return b.load_atomic(b.inttoptr(given[0], I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def store_atomic(typing: Any, address: Any, value: Any) -> Any:
    """Writes a whole number of 8 bytes that another thread reads."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        b.store_atomic(given[1], b.inttoptr(given[0], I64.as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def pause(typing: Any) -> Any:
    """Lets the core breathe while a thread waits."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), code


@intrinsic  # type: ignore[untyped-decorator]
def yield_core(typing: Any) -> Any:
    """Lets another thread have the core (sched_yield)."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(I32, []), "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), code


FUTEX, WAIT, WAKE = 202, 128, 129  # Linux on x86-64: the system call, and its private operations
EVERYBODY = (1 << 31) - 1


def futex(b: Any, address: Any, operation: int, value: Any) -> None:
    """The system call by which threads sleep until a number changes."""
    function = ir.FunctionType(I64, [I64], var_arg=True)
    called = cgutils.get_or_insert_function(b.module, function, "syscall")
    b.call(called, [I64(FUTEX), address, I64(operation), value, I64(0), I64(0), I64(0)])


@intrinsic  # type: ignore[untyped-decorator]
def sleep_while(typing: Any, address: Any, value: Any) -> Any:
    """Sleeps while the first 4 bytes at the address are `value`, until `wake`."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        futex(b, given[0], WAIT, given[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def wake(typing: Any, address: Any) -> Any:
    """Wakes who sleeps at the address."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        futex(b, given[0], WAKE, I64(EVERYBODY))
        return context.get_dummy_value()

    return types.void(types.int64), code
