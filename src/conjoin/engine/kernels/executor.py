"""Runs a program: each thread does its share of every operation, and all wait for each other between two."""

import numpy as np

from conjoin.engine.kernels.attend import attend_cache, attend_panels, pack_keys, pack_values, slots_seen, write_cache
from conjoin.engine.kernels.choose import choose, largest, log_softmax
from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import (
    add_atomic,
    doubles_at,
    int64s_at,
    load_atomic,
    pause,
    yield_core,
)
from conjoin.engine.kernels.layout import FIELDS, LAYER, LAYERS, PANEL, Code, Fact, Mode, PerLayer
from conjoin.engine.kernels.rows import activate_row, combine, multiply, narrow, normalise, scale, turn

__all__ = ["execute"]

PATIENCE = 2000  # turns that a thread spins at a barrier before it lets others have its core
MANY = 1 << 20  # more than any table holds
FEW = 2  # rows that each thread makes narrow for itself, rather than wait for another's

LINEAR, NORM, COMBINE, SCALE = int(Code.LINEAR), int(Code.NORM), int(Code.COMBINE), int(Code.SCALE)
ACTIVATE, TURN, ATTEND, PACK = int(Code.ACTIVATE), int(Code.TURN), int(Code.ATTEND), int(Code.PACK)
LOG_SOFTMAX, BEST, CHOOSE = int(Code.LOG_SOFTMAX), int(Code.BEST), int(Code.CHOOSE)
ATTEND_MEMORY, ATTEND_LONG = int(Code.ATTEND_MEMORY), int(Code.ATTEND_LONG)
FLOAT32, INT8, FLOAT16 = int(Mode.FLOAT32), int(Mode.INT8), int(Mode.FLOAT16)
INT8_WEIGHTS, INT4_WEIGHTS = int(Mode.INT8_WEIGHTS), int(Mode.INT4_WEIGHTS)

ROWS, BATCH, LENGTH, AT = int(Fact.ROWS), int(Fact.BATCH), int(Fact.LENGTH), int(Fact.AT)
SEEN, SOURCE, COUNTER, SOURCE_MASK = int(Fact.SEEN), int(Fact.SOURCE), int(Fact.COUNTER), int(Fact.SOURCE_MASK)
SCRATCH, SCRATCH_BYTES = int(Fact.SCRATCH), int(Fact.SCRATCH_BYTES)
NARROWED, ROW_SCALES = int(Fact.NARROWED), int(Fact.ROW_SCALES)
FIRST, RUNS, RUN_FACTS, RUN_STRIDE = int(Fact.FIRST), int(Fact.RUNS), int(Fact.RUN_FACTS), int(Fact.RUN_STRIDE)
SEQUENCES, STARTS, FORBIDDEN = int(Fact.SEQUENCES), int(Fact.STARTS), int(Fact.FORBIDDEN)

KEYS, VALUES, SLOTS = int(PerLayer.KEYS), int(PerLayer.VALUES), int(PerLayer.SLOTS)
MEMORY_KEYS, MEMORY_VALUES = int(PerLayer.MEMORY_KEYS), int(PerLayer.MEMORY_VALUES)
MASK, BIAS, COSINES, SINES = int(PerLayer.MASK), int(PerLayer.BIAS), int(PerLayer.COSINES), int(PerLayer.SINES)
TURN_STRIDES = int(PerLayer.TURN_STRIDES)


@compiled
def barrier(counter: int, turn_number: int, threads: int) -> None:
    """Waits until all threads have come here for the `turn_number`th time (from 1)."""
    if threads == 1:
        return
    add_atomic(counter, 1)
    goal, spins = turn_number * threads, 0
    while load_atomic(counter) < goal:
        spins += 1
        if spins < PATIENCE:
            pause()
        else:
            yield_core()


@compiled
def place(buffers: np.ndarray, op: np.ndarray, at: int) -> int:
    """The address of a place's first number."""
    return buffers[op[at]] + 4 * op[at + 1]


@compiled
def linear(op: np.ndarray, buffers: np.ndarray, facts: np.ndarray, thread: int, threads: int, turns: int) -> int:
    """LINEAR: how many barriers it has passed."""
    rows, mode, inputs, outputs = facts[ROWS], op[8], op[12], op[13]
    x, stride = place(buffers, op, 1), 4 * op[3]
    scratch = facts[SCRATCH] + thread * facts[SCRATCH_BYTES]
    scales, steps = facts[ROW_SCALES], inputs
    if mode == FLOAT16:
        steps = inputs // 2
    elif mode == INT8_WEIGHTS:
        steps = inputs // 4
    elif mode == INT4_WEIGHTS:
        steps = inputs // 8
    elif mode != FLOAT32:
        steps = (inputs + 3) // 4 if mode == INT8 else (inputs + 1) // 2
        few = rows <= FEW
        narrowed = scratch + 12 * PANEL * 4 if few else facts[NARROWED]
        if few:
            scales = narrowed + 4 * steps * rows
        first = 0 if few else rows * thread // threads
        last = rows if few else rows * (thread + 1) // threads
        for r in range(first, last):
            narrow(mode, x + r * stride, inputs, narrowed + 4 * steps * r, scales, r)
        if not few:
            turns += 1
            barrier(facts[COUNTER], turns, threads)
        x, stride = narrowed, 4 * steps
    panels = (outputs + PANEL - 1) // PANEL
    added = 0 if op[15] < 0 else place(buffers, op, 15)
    multiply(
        mode,
        x,
        stride,
        rows,
        op[7],
        steps,
        panels * thread // threads,
        panels * (thread + 1) // threads,
        outputs,
        scales,
        op[9],
        op[10],
        op[11],
        op[14],
        place(buffers, op, 4),
        op[6],
        added,
        op[17],
        scratch,
    )
    return turns


@compiled
def by_rows(op: np.ndarray, by: np.ndarray, buffers: np.ndarray, facts: np.ndarray, thread: int, threads: int) -> None:
    """NORM, COMBINE, SCALE, ACTIVATE, TURN, LOG_SOFTMAX, BEST and CHOOSE: each thread some rows."""
    code, rows = op[0], facts[ROWS]
    a, b, stride, other = place(buffers, op, 1), 0, op[3], 0
    if code != TURN:
        b, other = place(buffers, op, 4), op[6]
    for r in range(rows * thread // threads, rows * (thread + 1) // threads):
        x, y = a + 4 * r * stride, b + 4 * r * other
        if code == NORM:
            for h in range(op[11]):
                normalise(x + 4 * h * op[9], y + 4 * h * op[9], op[7], op[8], op[9], op[10], np.float32(by[0]))
        elif code == COMBINE:
            combine(op[11], x, y, place(buffers, op, 7) + 4 * r * op[9], op[10])
        elif code == SCALE:
            scale(x, y, op[7], np.float32(by[0]))
        elif code == LOG_SOFTMAX:
            log_softmax(x, y, op[7])
        elif code == BEST:
            largest(x, op[7], op[8], y)
        elif code == CHOOSE:
            forbids = facts[FORBIDDEN + 1]
            mine = facts[SCRATCH] + thread * facts[SCRATCH_BYTES]
            choose(x, op[7], op[8], facts[FORBIDDEN] + 4 * forbids * r, forbids, y, mine)
        elif code == ACTIVATE:
            activate_row(op[8], x, y, op[7], facts[SCRATCH] + thread * facts[SCRATCH_BYTES])
        else:
            layer = LAYERS + LAYER * op[8]
            row, token = r // facts[LENGTH], r % facts[LENGTH]
            at = 4 * (row * facts[layer + TURN_STRIDES] + token * facts[layer + TURN_STRIDES + 1])
            turn(x, op[4], op[5], op[6], op[7], facts[layer + COSINES] + at, facts[layer + SINES] + at)


@compiled
def facts_of(facts: np.ndarray, run: int) -> np.ndarray:
    """The facts of one of the runs that stand side by side; a run alone has the program's."""
    if facts[RUNS] == 0:
        return facts
    return int64s_at(facts[RUN_FACTS] + 8 * facts[RUN_STRIDE] * run, MANY)


@compiled
def own_attention(
    op: np.ndarray, by: np.ndarray, buffers: np.ndarray, facts: np.ndarray, scratch: int, thread: int, threads: int
) -> None:
    """ATTEND: new keys and values are written, then each query looks at the slots it may see."""
    heads, size, length, seen = op[14], op[15], facts[LENGTH], facts[SEEN]
    groups, layer = op[13] // heads, LAYERS + LAYER * op[16]
    room = facts[layer + SLOTS] * size  # numbers of a head's cache
    tasks, chosen = facts[BATCH] * heads, scratch + 4 * (seen + PANEL)
    mine, end = tasks * thread // threads, tasks * (thread + 1) // threads
    while mine < end:  # the heads of one row at a time: they see the same slots
        row, head = mine // heads, mine % heads
        last, first = min(heads, head + end - mine), facts[FIRST] + row * length
        keys, values = facts[layer + KEYS] + 4 * row * heads * room, facts[layer + VALUES] + 4 * row * heads * room
        new, more = place(buffers, op, 7) + 4 * first * op[9], place(buffers, op, 10) + 4 * first * op[12]
        for h in range(head, last):
            write_cache(new + 4 * h * size, op[9], length, size, keys + 4 * h * room, facts[AT])
            write_cache(more + 4 * h * size, op[12], length, size, values + 4 * h * room, facts[AT])
        for t in range(length):
            mask = facts[layer + MASK]
            if mask != 0:
                mask += row * facts[layer + MASK + 1] + t * facts[layer + MASK + 2]
            count = slots_seen(mask, seen, chosen)
            q, out = place(buffers, op, 1) + 4 * (first + t) * op[3], place(buffers, op, 4) + 4 * (first + t) * op[6]
            for h in range(head * groups, last * groups):
                bias = facts[layer + BIAS]
                if bias != 0:
                    bias += 4 * (h * facts[layer + BIAS + 1] + t * facts[layer + BIAS + 2])
                at = 4 * (h // groups) * room
                attend_cache(
                    q + 4 * h * size,
                    size,
                    keys + at,
                    values + at,
                    chosen,
                    count,
                    bias,
                    np.float32(by[0]),
                    np.float32(by[1]),
                    out + 4 * h * size,
                    scratch,
                )
        mine += last - head


@compiled
def memory_attention(
    op: np.ndarray, by: np.ndarray, buffers: np.ndarray, facts: np.ndarray, scratch: int, thread: int, threads: int
) -> None:
    """ATTEND_MEMORY: all queries of a source over its packed keys and values."""
    heads, size, length, tokens = op[8], op[9], facts[LENGTH], facts[SOURCE]
    groups, layer = op[7] // heads, LAYERS + LAYER * op[10]
    tasks = facts[BATCH] * heads
    full = (tokens + PANEL - 1) // PANEL * PANEL
    wide = (size + PANEL - 1) // PANEL * PANEL
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        row, head = task // heads, task % heads
        first = facts[FIRST] + row * length
        mask = facts[SOURCE_MASK]
        if mask != 0:
            mask += row * facts[SOURCE_MASK + 1]
        for h in range(head * groups, (head + 1) * groups):
            attend_panels(
                place(buffers, op, 1) + 4 * (first * op[3] + h * size),
                op[3],
                length,
                size,
                tokens,
                facts[layer + MEMORY_KEYS] + 4 * task * full * size,
                facts[layer + MEMORY_VALUES] + 4 * task * wide * tokens,
                mask,
                0,
                0,
                0,
                np.float32(by[0]),
                np.float32(by[1]),
                place(buffers, op, 4) + 4 * (first * op[6] + h * size),
                op[6],
                scratch,
            )


@compiled
def long_attention(
    op: np.ndarray, by: np.ndarray, buffers: np.ndarray, facts: np.ndarray, thread: int, threads: int
) -> None:
    """ATTEND_LONG: a sequence over itself, without a cache; a head's keys and values are packed first."""
    heads, size = op[14], op[15]
    groups, layer = op[13] // heads, LAYERS + LAYER * op[16]
    tasks, starts = heads * max(facts[BATCH], facts[SEQUENCES]), int64s_at(facts[STARTS], MANY)
    keys = facts[SCRATCH] + thread * facts[SCRATCH_BYTES]
    for task in range(thread, tasks, threads):  # in turns, so that no thread has all of the longest
        row, head = task // heads, task % heads
        first, length = row * facts[LENGTH], facts[LENGTH]
        if facts[SEQUENCES] > 0:
            first, length = starts[row], starts[row + 1] - starts[row]
        values = keys + 4 * size * ((length + PANEL - 1) // PANEL * PANEL)
        rest = values + 4 * length * ((size + PANEL - 1) // PANEL * PANEL)
        pack_keys(place(buffers, op, 7) + 4 * (first * op[9] + head * size), op[9], length, size, keys)
        pack_values(place(buffers, op, 10) + 4 * (first * op[12] + head * size), op[12], length, size, values)
        mask = facts[layer + MASK]
        if mask != 0:
            mask += row * facts[layer + MASK + 1]
        for h in range(head * groups, (head + 1) * groups):
            bias = facts[layer + BIAS]
            if bias != 0:
                bias += 4 * h * facts[layer + BIAS + 1]
            attend_panels(
                place(buffers, op, 1) + 4 * (first * op[3] + h * size),
                op[3],
                length,
                size,
                length,
                keys,
                values,
                mask,
                facts[layer + MASK + 2],
                bias,
                facts[layer + BIAS + 2],
                np.float32(by[0]),
                np.float32(by[1]),
                place(buffers, op, 4) + 4 * (first * op[6] + h * size),
                op[6],
                rest,
            )


@compiled
def packing(op: np.ndarray, buffers: np.ndarray, facts: np.ndarray, thread: int, threads: int) -> None:
    """PACK: keys and values of a source into panels that every step reads."""
    heads, size, length = op[7], op[8], facts[LENGTH]
    layer, tasks = LAYERS + LAYER * op[9], facts[BATCH] * heads
    full = (length + PANEL - 1) // PANEL * PANEL
    wide = (size + PANEL - 1) // PANEL * PANEL
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        row, head = task // heads, task % heads
        k = place(buffers, op, 1) + 4 * (row * length * op[3] + head * size)
        v = place(buffers, op, 4) + 4 * (row * length * op[6] + head * size)
        pack_keys(k, op[3], length, size, facts[layer + MEMORY_KEYS] + 4 * task * full * size)
        pack_values(v, op[6], length, size, facts[layer + MEMORY_VALUES] + 4 * task * wide * length)


@compiled
def execute(count: int, ops: int, by: int, buffers: int, facts: int, thread: int, threads: int) -> None:
    """One thread's part of a program, by the addresses of its tables (see `Program`)."""
    turns, places, known = np.int64(0), int64s_at(buffers, MANY), int64s_at(facts, MANY)
    scratch, runs = known[SCRATCH] + thread * known[SCRATCH_BYTES], max(1, known[RUNS])
    for i in range(count):
        op, real = int64s_at(ops + 8 * FIELDS * i, FIELDS), doubles_at(by + 16 * i, 2)
        code = op[0]
        if code == LINEAR:
            turns = linear(op, places, known, thread, threads, turns)
        elif code == ATTEND:
            for run in range(runs):
                own_attention(op, real, places, facts_of(known, run), scratch, thread, threads)
        elif code == ATTEND_MEMORY:
            for run in range(runs):
                memory_attention(op, real, places, facts_of(known, run), scratch, thread, threads)
        elif code == ATTEND_LONG:
            long_attention(op, real, places, known, thread, threads)
        elif code == PACK:
            packing(op, places, known, thread, threads)
        else:
            by_rows(op, real, places, known, thread, threads)
        turns += 1
        barrier(known[COUNTER], turns, threads)
