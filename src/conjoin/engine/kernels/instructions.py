"""Single instructions that Numba has no name for: memory by its address, atomic counters, and waiting."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from conjoin.engine.kernels.registers import F32, I32, I64

__all__ = [
    "add_atomic",
    "as_int",
    "bytes_at",
    "floats_at",
    "int16s_at",
    "int32s_at",
    "int64s_at",
    "kernel_at",
    "load_atomic",
    "moved",
    "number",
    "pause",
    "place",
    "real",
    "sleep_while",
    "store_atomic",
    "wake",
    "yield_core",
]

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
int64s_at = array_at(types.int64)
int32s_at = array_at(types.int32)
int16s_at = array_at(types.uint16)
bytes_at = array_at(types.uint8)


# What Numba would put together from many operations, each of which takes it milliseconds to compile.


@intrinsic  # type: ignore[untyped-decorator]
def number(typing: Any, address: Any, which: Any) -> Any:
    """One of the whole numbers of 8 bytes at an address."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        return number_at(b, *given)

    return types.int64(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def real(typing: Any, address: Any, which: Any) -> Any:
    """One of the float64 numbers at an address, as float32."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        at = b.inttoptr(given[0], ir.DoubleType().as_pointer())
        return b.fptrunc(b.load(b.gep(at, [given[1]])), F32)

    return types.float32(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def moved(typing: Any, address: Any, count: Any, stride: Any) -> Any:
    """The address of so many rows on, of `stride` numbers of 4 bytes."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        address, count, stride = given
        return b.add(address, b.shl(b.mul(count, stride), I64(2)))

    return types.int64(types.int64, types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def place(typing: Any, buffers: Any, operation: Any, at: Any) -> Any:
    """The address of the first number of an operation's place."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        buffers, operation, at = given
        buffer = number_at(b, buffers, number_at(b, operation, at))
        column = number_at(b, operation, b.add(at, I64(1)))
        return b.add(buffer, b.shl(column, I64(2)))

    return types.int64(types.int64, types.int64, types.int64), code


def number_at(b: Any, address: Any, which: Any) -> Any:
    """The code of `number`."""
    return b.load(b.gep(b.inttoptr(address, I64.as_pointer()), [which]))


@intrinsic  # type: ignore[untyped-decorator]
def kernel_at(
    typing: Any, address: Any, operation: Any, by: Any, buffers: Any, facts: Any, thread: Any, threads: Any, turns: Any
) -> Any:
    """Calls a `Kernel`."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        address, *rest = given
        return b.call(b.inttoptr(address, ir.FunctionType(I64, [I64] * 7).as_pointer()), rest)

    return types.int64(*[types.int64] * 8), code


@intrinsic  # type: ignore[untyped-decorator]
def as_int(typing: Any, x: Any) -> Any:
    """The bits of a float32 number."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        return b.bitcast(given[0], I32)

    return types.int32(types.float32), code


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
