"""A backend of `blocks/` that computes nothing and writes down what is to be computed: a stack's program.

Leaves are bound to those of a stack by their names. What a program cannot hold raises UnsupportedError, and the stack
then runs in its framework.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from conjoin.engine.arrays import Array, address
from conjoin.engine.kernels.layout import Code
from conjoin.engine.kernels.vectors import ACTIVATIONS
from conjoin.engine.program import Place, Program
from conjoin.engine.weights import Panels

__all__ = ["Cached", "Heads", "Leaves", "Module", "Remembered", "Rows", "UnsupportedError", "bind"]

FIXED_SHAPES = False


class UnsupportedError(Exception):
    """A stack that has something which programs do not hold."""


# What arrays become.


@dataclass
class Rows:
    """(B, T, W), as columns of a buffer, and the operation that made it."""

    program: Program
    place: Place
    maker: int | None = None

    def __add__(self, other: "Rows") -> "Rows":
        for a, b in ((self, other), (other, self)):
            if b.fuses():
                operation = self.program.operations[b.maker or 0]
                operation.places[2] = a.place
                return Rows(self.program, b.place)
        return combined(self, other, 0)

    def __sub__(self, other: "Rows") -> "Rows":
        return combined(self, other, 1)

    def __mul__(self, other: "Rows") -> "Rows":
        return combined(self, other, 2)

    def __rmul__(self, number: float) -> "Rows":
        return scaled(self, number)

    def fuses(self) -> bool:
        """Whether a linear layer made this and can still do something more to it."""
        last = len(self.program.operations) - 1
        if self.maker is None or self.maker != last:
            return False
        operation = self.program.operations[last]
        return operation.code == Code.LINEAR and operation.places[2] is None and operation.places[1] == self.place


@dataclass
class Heads:
    """(B, H, T, D): rows, read head by head."""

    rows: Rows
    heads: int

    @property
    def size(self) -> int:
        """D."""
        return self.rows.place.width // self.heads


@dataclass
class Cached:
    """Keys or values of a layer's cache, of which the last are these."""

    new: Heads | None = None


@dataclass
class Remembered:
    """Packed keys or values of the source."""

    heads: int


def combined(a: Rows, b: Rows, which: int) -> Rows:
    """a + b, a - b or a * b."""
    out = a.program.buffer(a.place.width)
    maker = a.program.add(Code.COMBINE, [a.place, b.place, out], [out.width, which])
    return Rows(a.program, out, maker)


# Leaves.


class Module:
    """What is called."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """What `forward` makes."""
        return self.forward(*args, **named)  # type: ignore[attr-defined]


def ModuleList(items: Sequence[Any]) -> list[Any]:  # noqa: N802
    """Several."""
    return list(items)


class Linear(Module):
    """A product with a weight in panels, which `bind` gives."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        self.outputs = outputs
        self.panels: Panels | None = None

    def forward(self, x: Rows) -> Rows:
        """(..., in) -> (..., out)."""
        assert self.panels is not None
        program, panels = x.program, self.panels
        out = program.buffer(self.outputs)
        program.kept.append(panels)
        numbers = [*panels.addresses, panels.inputs, panels.outputs, 0]
        return Rows(program, out, program.add(Code.LINEAR, [x.place, out, None], numbers))


class Products(Module):
    """Several linear layers over one input."""

    def __init__(self, panels: Panels, sizes: Sequence[int]) -> None:
        self.whole, self.sizes = Linear(panels.inputs, panels.outputs), sizes
        self.whole.panels = panels

    def forward(self, x: Rows) -> tuple[Rows, ...]:
        """(..., in) -> (..., out) of each."""
        out, at, parts = self.whole(x), 0, []
        for size in self.sizes:
            parts.append(Rows(x.program, Place(out.place.buffer, at, size)))
            at += size
        return tuple(parts)


class Norm(Module):
    """A layer norm or RMS norm, its weight as `bind` gives it, offset included."""

    def __init__(self, eps: float, root: bool, offset: float = 0.0) -> None:
        self.eps, self.root, self.offset = eps, root, offset
        self.weight: Array | None = None
        self.bias: Array | None = None

    def forward(self, x: Rows | Heads) -> Rows | Heads:
        """Over the last axis."""
        rows, heads = (x.rows, x.heads) if isinstance(x, Heads) else (x, 1)
        assert self.weight is not None
        program = rows.program
        out = program.buffer(rows.place.width)
        program.kept += [self.weight, self.bias]
        bias = 0 if self.bias is None else address(self.bias)
        numbers = [address(self.weight), bias, len(self.weight), int(self.root), heads]
        made = Rows(program, out, program.add(Code.NORM, [rows.place, out], numbers, (self.eps, 0)))
        return Heads(made, heads) if isinstance(x, Heads) else made


def LayerNorm(width: int, eps: float, bias: bool = True) -> Norm:  # noqa: N802
    """A layer norm."""
    return Norm(eps, root=False)


def RMSNorm(width: int, eps: float, offset: float = 0.0) -> Norm:  # noqa: N802
    """An RMS norm."""
    return Norm(eps, root=True, offset=offset)


class Dropout(Module):
    """Nothing: programs do not train."""

    def __init__(self, rate: float) -> None:
        pass

    def forward(self, x: Any) -> Any:
        """x."""
        return x


class Activation(Module):
    """An activation, made with the product before it where there is one."""

    def __init__(self, name: str) -> None:
        if name not in ACTIVATIONS:
            raise UnsupportedError(f"activation {name}")
        self.kind = ACTIVATIONS[name]

    def forward(self, x: Rows) -> Rows:
        """Number by number."""
        if x.fuses() and x.program.operations[-1].numbers[7] == 0:
            x.program.operations[-1].numbers[7] = self.kind
            return Rows(x.program, x.place)
        out = x.program.buffer(x.place.width)
        return Rows(x.program, out, x.program.add(Code.ACTIVATE, [x.place, out], [out.width, self.kind]))


activation = Activation


def recalled(z: Rows, activation: Activation, y: Rows) -> AbstractContextManager[None]:
    """Nothing: programs keep nothing for gradients."""
    return nullcontext()


class Vector(Module):
    """A vector of parameters."""

    def __init__(self) -> None:
        self.values: Array | None = None


def vector(size: int, trained: bool) -> Vector:
    """A vector, which `bind` gives."""
    return Vector()


class Embedding(Module):
    """A table, which no program reads."""

    def __init__(self, rows: int, width: int) -> None:
        raise UnsupportedError("a table within a layer")


# Functions.


def scaled(x: Rows, scale: float) -> Rows:
    """x * scale."""
    if scale == 1.0:
        return x
    out = x.program.buffer(x.place.width)
    return Rows(x.program, out, x.program.add(Code.SCALE, [x.place, out], [out.width], (scale, 0)))


def stretched(x: Rows, by: Vector) -> Rows:
    """x times a vector."""
    assert by.values is not None
    return combined(x, Rows(x.program, x.program.vector(by.values)), 2)


def tanh(x: Vector) -> float:
    """Of a gate."""
    assert x.values is not None
    return float(np.tanh(x.values[0]))


def split_heads(x: Rows, heads: int) -> Heads:
    """(B, T, W) -> (B, H, T, D)."""
    return Heads(x, heads)


def merge_heads(x: Heads) -> Rows:
    """(B, H, T, D) -> (B, T, W)."""
    return x.rows


def regrouped(x: Any, heads: int) -> Any:
    """What kernels do by themselves."""
    return x


def tiled(mask: Any, times: int) -> Any:
    """What kernels do by themselves."""
    return mask


def turned(x: Heads, cosines: int, sines: Any, interleaved: bool) -> Heads:
    """Rotary positions, in place; `cosines` is how many pairs turn."""
    program = x.rows.program
    numbers = [x.heads, x.size, cosines, int(interleaved), program.layer]
    program.add(Code.TURN, [x.rows.place], numbers)
    return Heads(Rows(program, x.rows.place), x.heads)


def write(cache: Cached, x: Heads, at: Any) -> Cached:
    """A cache with new keys or values."""
    return Cached(x)


def visible(cache: Cached, at: Any, x: Heads) -> Cached:
    """The slots in sight."""
    return cache


def attention(
    q: Heads,
    k: Any,
    v: Any,
    mask: Any,
    scale: float,
    dropout: Any,
    want_weights: bool,
    bias: Any = None,
    cap: float = 0.0,
    packing: None = None,
) -> tuple[Heads, None]:
    """Attention, of the kind that its keys are."""
    program = q.rows.program
    out = program.buffer(q.rows.place.width)
    reals = (scale, cap)
    if isinstance(k, Remembered):
        numbers = [q.heads, k.heads, q.size, program.layer]
        program.add(Code.ATTEND_MEMORY, [q.rows.place, out], numbers, reals)
    else:
        code = Code.ATTEND if isinstance(k, Cached) else Code.ATTEND_LONG
        keys, values = (k.new, v.new) if isinstance(k, Cached) else (k, v)
        assert keys is not None
        numbers = [q.heads, keys.heads, q.size, program.layer]
        program.add(code, [q.rows.place, out, keys.rows.place, values.rows.place], numbers, reals)
    return Heads(Rows(program, out), q.heads), None


# Weights.


class Leaves(Protocol):
    """How what a stack holds is read, whichever framework's it is."""

    def panels(self, layers: list[Any]) -> Panels:
        """Linear layers over one input in panels, biases included. Raises UnsupportedError for what is no such layer."""

    def table(self, table: Any, bias: Any) -> Panels:
        """An output embedding in panels, with the head's bias."""

    def numbers(self, x: Any) -> Array:
        """A parameter in float32, in one piece."""


def bind(recorded: Any, module: Any, leaves: Leaves) -> None:
    """Gives the leaves of a recorded module what those of a stack's hold."""
    for name, mine in vars(recorded).items():
        theirs: Any = getattr(module, name, None)
        if isinstance(mine, Linear):
            mine.panels = leaves.panels([theirs])
        elif isinstance(mine, Norm):
            weight = leaves.numbers(theirs.weight)
            mine.weight = weight + np.float32(mine.offset) if mine.offset else weight
            bias = getattr(theirs, "bias", None)
            mine.bias = None if bias is None else leaves.numbers(bias)
        elif isinstance(mine, Vector):
            mine.values = leaves.numbers(theirs)
        elif isinstance(mine, Module) and not isinstance(mine, Dropout | Activation | Products):
            bind(mine, theirs, leaves)
