"""Functions of sixteen float32 numbers at a time, written in LLVM's vector instructions: exponentials and activations.

Numba's own loops over `exp` call the C library once for each number; these do sixteen in a dozen instructions, to a few parts in
ten million.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from conjoin.engine.kernels.registers import (
    FLOATS,
    I32,
    I64,
    INTS,
    VECTOR,
    called,
    in_order,
    largest_of,
    spread,
    total_of,
)

__all__ = [
    "ACTIVATIONS",
    "LOWEST",
    "WIDTH",
    "activating",
    "as_bytes",
    "greatest",
    "maximum",
    "sum_of_exponentials",
]

WIDTH = VECTOR
LOWEST = -3.4028234663852886e38
BYTES, I16 = ir.VectorType(ir.IntType(8), VECTOR), ir.IntType(16)


class Vector:
    """Sixteen numbers in a register."""

    def __init__(self, b: Any, value: Any) -> None:
        self.b, self.value = b, value

    def of(self, other: Any) -> "Vector":
        """Another vector, or one number sixteen times."""
        return other if isinstance(other, Vector) else Vector(self.b, ir.Constant(FLOATS, [float(other)] * WIDTH))

    def __add__(self, other: Any) -> "Vector":
        return Vector(self.b, self.b.fadd(self.value, self.of(other).value))

    def __sub__(self, other: Any) -> "Vector":
        return Vector(self.b, self.b.fsub(self.value, self.of(other).value))

    def __mul__(self, other: Any) -> "Vector":
        return Vector(self.b, self.b.fmul(self.value, self.of(other).value))

    def __truediv__(self, other: Any) -> "Vector":
        return Vector(self.b, self.b.fdiv(self.value, self.of(other).value))

    def over(self, number: float) -> "Vector":
        """number / this."""
        return self.of(number) / self

    def from_(self, number: float) -> "Vector":
        """number - this."""
        return self.of(number) - self

    def times_plus(self, by: Any, more: Any) -> "Vector":
        """this * by + more, rounded once."""
        return self.call("fma", self.of(by), self.of(more))

    def call(self, name: str, *others: "Vector") -> "Vector":
        """An intrinsic function of LLVM."""
        return Vector(self.b, called(self.b, f"llvm.{name}.v16f32", FLOATS, self.value, *(o.value for o in others)))

    def at_most(self, number: float) -> "Vector":
        """The smaller of each and a number."""
        other = self.of(number)
        return Vector(self.b, self.b.select(self.b.fcmp_ordered("<", self.value, other.value), self.value, other.value))

    def at_least(self, number: float) -> "Vector":
        """The larger of each and a number."""
        other = self.of(number)
        return Vector(self.b, self.b.select(self.b.fcmp_ordered(">", self.value, other.value), self.value, other.value))

    def zero_below(self, other: "Vector", number: float) -> "Vector":
        """This, and 0 where another is less than a number."""
        enough = self.b.fcmp_ordered(">=", other.value, self.of(number).value)
        return Vector(self.b, self.b.select(enough, self.value, self.of(0.0).value))

    def inverse(self) -> "Vector":
        """1 / this, by an estimate to 14 bits and a step of Newton's: a division takes several times as long."""
        near = Vector(
            self.b,
            called(self.b, "llvm.x86.avx512.rcp14.ps.512", FLOATS, self.value, self.value, ir.Constant(I16, -1)),
        )
        return near.times_plus(self * -1.0 * near + 1.0, near)

    def over_whole(self) -> "Vector":
        """This less the largest whole number that is not above it; 0 of infinities."""
        b, down = self.b, (I32(9), self.value, ir.Constant(I16, -1), I32(4))
        return Vector(b, called(b, "llvm.x86.avx512.mask.reduce.ps.512", FLOATS, self.value, *down))

    def times_power_below(self, n: "Vector", least: float) -> "Vector":
        """This times 2 to the largest whole numbers that are not above n; 0 where n is less than a number."""
        b, zero = self.b, self.of(0.0).value
        enough = b.bitcast(b.fcmp_ordered(">=", n.value, self.of(least).value), I16)
        usual = (zero, enough, I32(4))
        return Vector(b, called(b, "llvm.x86.avx512.mask.scalef.ps.512", FLOATS, self.value, n.value, *usual))

    def times_power_of_two(self, n: "Vector") -> "Vector":
        """This times 2 to the whole numbers n."""
        b, usual = self.b, (ir.Constant(I16, -1), I32(4))  # every lane, rounded as always
        return Vector(
            b, called(b, "llvm.x86.avx512.mask.scalef.ps.512", FLOATS, self.value, n.value, self.value, *usual)
        )


Function = Callable[[Vector], Vector]


def exp(x: Vector) -> Vector:
    """e to the x: a power of two, and a polynomial for what is left (Cephes' expf).

    What is too small is 0: a CPU takes a hundred times as long for a product with a subnormal number, and hidden tokens would
    have such weights.
    """
    whole, x = x, x.at_least(-87.0)
    n = (x * 1.4426950408889634).call("rint")
    r = n.times_plus(-0.693359375, x)
    r = n.times_plus(2.12194440e-4, r)
    y = r.of(1.9875691500e-4)
    for more in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        y = y.times_plus(r, more)
    y = (y * r).times_plus(r, r) + 1.0
    return y.times_power_of_two(n).zero_below(whole, -87.0)


# 2 to the x from 0 to 1, to 8e-8, the highest power first: of degree 5, the one that is wrong by the least part.
POWER = (1.877576766e-3, 8.989339877e-3, 5.582631823e-2, 2.401536170e-1, 6.931530732e-1, 9.999999251e-1)


def share(x: Vector) -> Vector:
    """e to the x, which is not above 0, as a part of a sum that has 1 in it: to 2e-7 of the sum, in two thirds of the time.

    What `exp` does to be as near for small results is left out; they are 0 where its are.
    """
    x = x * 1.4426950408889634
    part = x.over_whole()
    y = part.of(POWER[0])
    for more in POWER[1:]:
        y = y.times_plus(part, more)
    return y.times_power_below(x, -126.0)


def tanh(x: Vector) -> Vector:
    """tanh, by way of the exponential of what is never positive."""
    e = exp(x.call("fabs") * -2.0)
    return (e.from_(1.0) / (e + 1.0)).call("copysign", x)


# erf(x) / x as a quotient of polynomials in x * x, the highest power first (as in Eigen), up to where erf is 1 in float32.
ERF_END = 3.832506856900711
ERF_OVER = (2.1237322e-6, 2.861979592e-4, 3.658048343e-3, 5.243302137e-2, 0.1874160767, 1.1283791065)
ERF_UNDER = (3.891857341e-5, 1.143296016e-3, 1.475208812e-2, 0.1129456758, 0.4994257986, 1.0)


def erf(x: Vector) -> Vector:
    """erf to 4e-7."""
    x = x.at_least(-ERF_END).at_most(ERF_END)
    square = x * x
    over, under = (x.of(numbers[0]) for numbers in (ERF_OVER, ERF_UNDER))
    for a, b in zip(ERF_OVER[1:], ERF_UNDER[1:], strict=True):
        over, under = over.times_plus(square, a), under.times_plus(square, b)
    return x * over * under.inverse()


def gelu(x: Vector) -> Vector:
    """x times the normal distribution's function (https://arxiv.org/abs/1606.08415)."""
    half = x * 0.5
    return erf(x * 0.7071067811865476).times_plus(half, half)


def gelu_tanh(x: Vector) -> Vector:
    """The same by a tanh, as GPT-2 has it."""
    return x * 0.5 * (tanh((x * x * x).times_plus(0.044715, x) * 0.7978845608028654) + 1.0)


def sigmoid(x: Vector) -> Vector:
    """1 / (1 + exp(-x))."""
    return (exp(x * -1.0) + 1.0).over(1.0)


FUNCTIONS: dict[int, Function] = {
    1: gelu,
    2: gelu_tanh,
    3: lambda x: x.at_least(0.0),
    4: lambda x: x * sigmoid(x),
    5: tanh,
    6: sigmoid,
}
# The number of each, by a config's name.
ACTIVATIONS = {
    "gelu": 1,
    "gelu_new": 2,
    "gelu_pytorch_tanh": 2,
    "gelu_fast": 2,
    "relu": 3,
    "silu": 4,
    "swish": 4,
    "tanh": 5,
    "sigmoid": 6,
}


def loop(
    b: Any, address: Any, vectors: Any, start: Any, body: Callable[[Vector, Any], tuple[Vector | None, Any]]
) -> Any:
    """Replaces each of some vectors at an address; `body` also carries a value from one to the next, whose last is given."""
    entry, again, end = b.block, b.append_basic_block("again"), b.append_basic_block("end")
    b.cbranch(b.icmp_signed(">", vectors, I64(0)), again, end)
    b.position_at_end(again)
    step, carried = b.phi(I64), b.phi(start.type)
    step.add_incoming(I64(0), entry)
    carried.add_incoming(start, entry)
    place = b.inttoptr(b.add(address, b.mul(step, I64(4 * WIDTH))), FLOATS.as_pointer())
    loaded = b.load(place)
    loaded.align = 4
    made, new = body(Vector(b, loaded), carried)
    if made is not None:
        b.store(made.value, place).align = 4
    following = b.add(step, I64(1))
    step.add_incoming(following, b.block)
    carried.add_incoming(new, b.block)
    b.cbranch(b.icmp_signed("<", following, vectors), again, end)
    last = b.block
    b.position_at_end(end)
    result = b.phi(start.type)
    result.add_incoming(start, entry)
    result.add_incoming(new, last)
    return result


def activating(number: int) -> Any:
    """(address, vectors, out, stride) -> None: one of FUNCTIONS over whole vectors of sixteen, to rows of two vectors each."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, address: Any, vectors: Any, out: Any, stride: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            address, vectors, out, stride = given

            def body(x: Vector, n: Any) -> tuple[None, Any]:
                row, half = b.lshr(n, I64(1)), b.and_(n, I64(1))
                at = b.add(out, b.add(b.mul(row, stride), b.mul(half, I64(4 * WIDTH))))
                b.store(FUNCTIONS[number](x).value, b.inttoptr(at, FLOATS.as_pointer())).align = 4
                return None, b.add(n, I64(1))

            loop(b, address, vectors, I64(0), body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), code

    return run


@intrinsic  # type: ignore[untyped-decorator]
def sum_of_exponentials(typing: Any, address: Any, vectors: Any, less: Any) -> Any:
    """(address, vectors, less) -> the sum of exp(x - less); no x is above `less`."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        address, vectors, less = given
        all_less = Vector(b, spread(b, less))

        def body(x: Vector, total: Any) -> tuple[None, Any]:
            return None, in_order(b, total, share(x - all_less).value)

        return total_of(b, loop(b, address, vectors, ir.Constant(FLOATS, [0.0] * WIDTH), body))

    return types.float32(types.int64, types.int64, types.float32), code


def extreme(of: Function, least: float) -> Any:
    """(address, vectors) -> the largest of a function of the numbers; `least` of none."""

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, address: Any, vectors: Any) -> Any:
        def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
            def body(x: Vector, best: Any) -> tuple[None, Any]:
                value = of(x).value
                return None, b.select(b.fcmp_ordered(">", value, best), value, best)

            return largest_of(b, loop(b, given[0], given[1], ir.Constant(FLOATS, [least] * WIDTH), body))

        return types.float32(types.int64, types.int64), code

    return run


maximum, greatest = extreme(lambda x: x, LOWEST), extreme(lambda x: x.call("fabs"), 0.0)


@intrinsic  # type: ignore[untyped-decorator]
def as_bytes(typing: Any, address: Any, vectors: Any, by: Any, out: Any) -> Any:
    """(address, vectors, by, out) -> None: numbers times `by`, from -127 to 127, as bytes around 128."""

    def code(context: Any, b: Any, signature: Any, given: Any) -> Any:
        address, vectors, by, out = given
        all_by = Vector(b, spread(b, by))

        def body(x: Vector, at: Any) -> tuple[None, Any]:
            whole = b.fptosi((x * all_by).call("rint").value, INTS)
            made = b.trunc(b.add(whole, ir.Constant(INTS, [128] * WIDTH)), BYTES)
            b.store(made, b.inttoptr(at, BYTES.as_pointer())).align = 1
            return None, b.add(at, I64(WIDTH))

        loop(b, address, vectors, out, body)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, types.int64), code
