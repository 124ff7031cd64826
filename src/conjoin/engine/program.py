"""A program: what a stack does to rows of numbers, as a table that the kernels run."""

from dataclasses import dataclass, field

import numpy as np

from conjoin.engine.arrays import LINE, Array, address, empty
from conjoin.engine.kernels.layout import FIELDS, LAYER, LAYERS, PANEL, Code, Fact
from conjoin.engine.kernels.operations import kernel_of
from conjoin.engine.kernels.team import Team
from conjoin.engine.pages import passing

__all__ = ["Place", "Program"]

BLOCK = 12 * PANEL * 4  # bytes of a block's sums
KEPT = 4 << 20  # bytes of buffers that stay once a source was read: of 136 tokens where a stack is as wide as BERT-base


@dataclass(frozen=True)
class Place:
    """Columns of a buffer: (rows, width) numbers."""

    buffer: int
    column: int
    width: int


@dataclass
class Operation:
    """One row of the table, its places still by buffer."""

    code: Code
    places: list[Place | None]
    numbers: list[int]
    reals: tuple[float, float] = (0.0, 0.0)


# Where an operation's places stand, and where its other numbers go.
PLACES = {
    Code.LINEAR: (1, 4, 15),
    Code.NORM: (1, 4),
    Code.COMBINE: (1, 4, 7),
    Code.SCALE: (1, 4),
    Code.ACTIVATE: (1, 4),
    Code.TURN: (1,),
    Code.ATTEND: (1, 4, 7, 10),
    Code.ATTEND_MEMORY: (1, 4),
    Code.ATTEND_LONG: (1, 4, 7, 10),
    Code.PACK: (1, 4),
    Code.LOG_SOFTMAX: (1, 4),
    Code.BEST: (1, 4),
    Code.CHOOSE: (1, 4),
}
NUMBERS = {
    Code.LINEAR: 7,
    Code.NORM: 7,
    Code.COMBINE: 10,
    Code.SCALE: 7,
    Code.ACTIVATE: 7,
    Code.TURN: 4,
    Code.ATTEND: 13,
    Code.ATTEND_MEMORY: 7,
    Code.ATTEND_LONG: 13,
    Code.PACK: 7,
    Code.LOG_SOFTMAX: 7,
    Code.BEST: 7,
    Code.CHOOSE: 7,
}


@dataclass
class Program:
    """Operations over buffers. Buffer 0 is what a caller gives; `result` is where what it gets is left."""

    layers: int
    widths: list[int] = field(default_factory=list)  # of each buffer
    vectors: dict[int, Array] = field(default_factory=dict)  # buffers that are one row for all: parameters
    operations: list[Operation] = field(default_factory=list)
    kept: list[object] = field(default_factory=list)  # whatever the table has addresses of
    result: int = 0
    layer: int = 0  # that operations are recorded for

    def buffer(self, width: int) -> Place:
        """A new buffer."""
        self.widths.append(width)
        return Place(len(self.widths) - 1, 0, width)

    def vector(self, values: Array) -> Place:
        """A buffer that is the same row for every row."""
        made = self.buffer(len(values))
        self.vectors[made.buffer] = values
        return made

    def add(
        self, code: Code, places: list[Place | None], numbers: list[int], reals: tuple[float, float] = (0, 0)
    ) -> int:
        """Adds an operation, and says which it is."""
        self.operations.append(Operation(code, places, numbers, reals))
        return len(self.operations) - 1

    def close(self, result: Place) -> "Closed":
        """The program with its tables; buffers that never hold something at the same time are one."""
        self.result = result.buffer
        return Closed(self)


class Closed:
    """A program that runs."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.physical, self.sizes = shared_buffers(program)
        self.ops = np.zeros((len(program.operations), FIELDS), np.int64)
        self.by = np.zeros((len(program.operations), 2), np.float64)
        for i, op in enumerate(program.operations):
            self.ops[i, 0] = kernel_of(op.code, op.numbers).address
            for at, place in zip(PLACES[op.code], op.places, strict=True):
                self.ops[i, at : at + 3] = (-1, 0, 0) if place is None else self.numbers_of(place)
            self.ops[i, NUMBERS[op.code] : NUMBERS[op.code] + len(op.numbers)] = op.numbers
            self.by[i] = op.reals
        self.facts = np.zeros(LAYERS + LAYER * program.layers, np.int64)
        self.addresses = np.zeros(len(self.sizes), np.int64)
        self.rows = 0
        self.room = empty((0,), np.uint8)
        self.scratch_bytes = self.threads = 0
        for buffer, values in program.vectors.items():
            self.addresses[self.physical[buffer]] = address(values)
        inputs = [op.numbers[5] for op in program.operations if op.code == Code.LINEAR]
        self.widest = max(inputs, default=0) + 4

    def numbers_of(self, place: Place) -> tuple[int, int, int]:
        """A place as the table has it."""
        stride = 0 if place.buffer in self.program.vectors else self.program.widths[place.buffer]
        return self.physical[place.buffer], place.column, stride

    def fit(self, rows: int, scratch: int, team: Team) -> None:
        """Makes room for so many rows, and so many bytes of scratch for each thread."""
        if rows > self.rows:
            self.make_room(rows)
        need = -(-(BLOCK + max(scratch, 2 * (2 * self.widest + 64))) // 64) * 64
        if need > self.scratch_bytes or team.threads > self.threads:
            need, self.threads = max(need, self.scratch_bytes), team.threads
            self.scratch = empty((need * team.threads,), np.uint8)
            self.facts[Fact.SCRATCH] = address(self.scratch)
            self.facts[Fact.SCRATCH_BYTES] = self.scratch_bytes = need
        self.facts[Fact.COUNTER] = team.counter

    def make_room(self, rows: int) -> None:
        """Buffers of so many rows, those for narrowed rows and their scales too, one after another in one piece."""
        own = {self.physical[b] for b in (*self.program.vectors, 0, self.program.result)}
        mine = [i for i in range(len(self.sizes)) if i not in own]
        need = [4 * rows * self.sizes[i] for i in mine] + [2 * rows * self.widest, 4 * rows]
        ends = np.cumsum([-(-size // LINE) * LINE for size in need])
        self.room, self.rows = passing(int(ends[-1])), rows
        *starts, narrowed, scales = address(self.room) + np.concatenate([[0], ends[:-1]])
        self.addresses[mine] = starts
        self.facts[[Fact.NARROWED, Fact.ROW_SCALES]] = narrowed, scales

    def give_back(self) -> None:
        """Lets large buffers go; small ones stay for the next run."""
        if self.room.nbytes > KEPT:
            self.room, self.rows = empty((0,), np.uint8), 0

    def run(self, x: Array, out: Array, batch: int, scratch: int, team: Team) -> None:
        """x (B * T, W) to out (B * T, W'), in place; both float32 and contiguous. Facts of layers are the caller's to set."""
        rows = len(x)
        self.fit(rows, scratch, team)
        self.addresses[self.physical[0]] = address(x)
        self.addresses[self.physical[self.program.result]] = address(out)
        self.facts[Fact.ROWS], self.facts[Fact.BATCH], self.facts[Fact.LENGTH] = rows, batch, rows // batch
        team.run(self.ops, self.by, self.addresses, self.facts)


def shared_buffers(program: Program) -> tuple[list[int], list[int]]:
    """For each buffer the one that it becomes, and the widths of these."""
    last: dict[int, int] = {}
    for i, op in enumerate(program.operations):
        for place in op.places:
            if place is not None:
                last[place.buffer] = i
    physical = [-1] * len(program.widths)
    sizes: list[int] = []
    free: list[int] = []
    given: set[int] = set()
    own = {0, program.result, *program.vectors}
    for buffer in sorted(own):
        physical[buffer] = len(sizes)
        sizes.append(program.widths[buffer])
    for i, op in enumerate(program.operations):
        for place in op.places:
            if place is not None and physical[place.buffer] < 0:
                width = program.widths[place.buffer]
                found = next((f for f in free if sizes[f] >= width), None)
                if found is None:
                    found = len(sizes)
                    sizes.append(width)
                else:
                    free.remove(found)
                physical[place.buffer] = found
        for place in op.places:
            if place is not None and last[place.buffer] == i and place.buffer not in own | given:
                given.add(place.buffer)
                free.append(physical[place.buffer])
    return physical, sizes
