"""Attention as operations of programs: which heads a thread takes, and where their queries, keys and values are."""

import numpy as np

from conjoin.engine.kernels.attend import attend_cache, attend_panels, pack_keys, pack_values, slots_seen, write_cache
from conjoin.engine.kernels.compiling import Kernel, compiled
from conjoin.engine.kernels.executor import layer_of, scratch_of, share
from conjoin.engine.kernels.instructions import bytes_at, moved, number, place, real
from conjoin.engine.kernels.layout import PANEL, Code, Fact, PerLayer

__all__ = ["ATTENTIONS"]

BATCH, LENGTH, AT = int(Fact.BATCH), int(Fact.LENGTH), int(Fact.AT)
SEEN, SOURCE, SOURCE_MASK = int(Fact.SEEN), int(Fact.SOURCE), int(Fact.SOURCE_MASK)
FIRST, RUNS, RUN_FACTS, RUN_STRIDE = int(Fact.FIRST), int(Fact.RUNS), int(Fact.RUN_FACTS), int(Fact.RUN_STRIDE)
SEQUENCES, STARTS, STANDS = int(Fact.SEQUENCES), int(Fact.STARTS), int(Fact.STANDS)
KEYS, VALUES, SLOTS = int(PerLayer.KEYS), int(PerLayer.VALUES), int(PerLayer.SLOTS)
MEMORY_KEYS, MEMORY_VALUES = int(PerLayer.MEMORY_KEYS), int(PerLayer.MEMORY_VALUES)
MASK, BIAS, BIAS_ROW = int(PerLayer.MASK), int(PerLayer.BIAS), int(PerLayer.BIAS_ROW)


def attend(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """ATTEND, of each run."""
    for run in range(max(1, number(facts, RUNS))):
        own_attention(op, by, buffers, facts_of(facts, run), scratch_of(facts, thread), thread, threads)
    return turns


def attend_memory(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """ATTEND_MEMORY, of each run."""
    for run in range(max(1, number(facts, RUNS))):
        memory_attention(op, by, buffers, facts_of(facts, run), scratch_of(facts, thread), thread, threads)
    return turns


@compiled
def facts_of(facts: int, run: int) -> int:
    """The facts of one of the runs that stand side by side; a run alone has the program's."""
    if number(facts, RUNS) == 0:
        return facts
    return number(facts, RUN_FACTS) + 8 * number(facts, RUN_STRIDE) * run


@compiled
def stand_of(facts: int, row: int) -> int:
    """Which row of cache and memory a row has."""
    return number(number(facts, STANDS), row) if number(facts, STANDS) != 0 else row


@compiled
def up_to_panels(count: int) -> int:
    """As many as fill panels."""
    return (count + PANEL - 1) // PANEL * PANEL


@compiled
def own_attention(op: int, by: int, buffers: int, facts: int, scratch: int, thread: int, threads: int) -> None:
    """New keys and values are written, then each query looks at the slots it may see."""
    heads, size, length, seen = number(op, 14), number(op, 15), number(facts, LENGTH), number(facts, SEEN)
    groups, layer = number(op, 13) // heads, layer_of(facts, number(op, 16))
    room = number(layer, SLOTS) * size  # numbers of a head's cache
    tasks, chosen = number(facts, BATCH) * heads, scratch + 4 * (seen + PANEL)
    mine, end = tasks * thread // threads, tasks * (thread + 1) // threads
    while mine < end:  # the heads of one row at a time: they see the same slots
        row, head = mine // heads, mine % heads
        last, first = min(heads, head + end - mine), number(facts, FIRST) + row * length
        past = stand_of(facts, row) * heads
        keys, values = moved(number(layer, KEYS), past, room), moved(number(layer, VALUES), past, room)
        new, more = (
            moved(place(buffers, op, 7), first, number(op, 9)),
            moved(place(buffers, op, 10), first, number(op, 12)),
        )
        for h in range(head, last):
            to, at = moved(0, h, room), moved(0, h, size)
            write_cache(new + at, number(op, 9), length, size, keys + to, number(facts, AT))
            write_cache(more + at, number(op, 12), length, size, values + to, number(facts, AT))
        for t in range(length):
            mask = number(layer, MASK)
            if mask != 0:
                mask += row * number(layer, MASK + 1) + t * number(layer, MASK + 2)
            count = slots_seen(mask, seen, chosen)
            q = moved(place(buffers, op, 1), first + t, number(op, 3))
            out = moved(place(buffers, op, 4), first + t, number(op, 6))
            for h in range(head * groups, last * groups):
                bias = number(layer, BIAS)
                if bias != 0:
                    bias = moved(bias, row, number(layer, BIAS_ROW))
                    bias = moved(moved(bias, h, number(layer, BIAS + 1)), t, number(layer, BIAS + 2))
                at, to = moved(0, h // groups, room), moved(0, h, size)
                attend_cache(
                    q + to,
                    size,
                    keys + at,
                    values + at,
                    chosen,
                    count,
                    bias,
                    real(by, 0),
                    real(by, 1),
                    out + to,
                    scratch,
                )
        mine += last - head


@compiled
def memory_attention(op: int, by: int, buffers: int, facts: int, scratch: int, thread: int, threads: int) -> None:
    """All queries of a source over its packed keys and values."""
    heads, size, length, tokens = number(op, 8), number(op, 9), number(facts, LENGTH), number(facts, SOURCE)
    groups, layer = number(op, 7) // heads, layer_of(facts, number(op, 10))
    tasks, keys, values = number(facts, BATCH) * heads, number(layer, MEMORY_KEYS), number(layer, MEMORY_VALUES)
    known, seen, mask = np.int64(-1), tokens, np.int64(0)
    for task in share(tasks, thread, threads):
        row, head = task // heads, task % heads
        if row != known:  # a source's heads see the same
            known, seen, mask = row, tokens, number(facts, SOURCE_MASK)
            if mask != 0:
                mask += row * number(facts, SOURCE_MASK + 1)
                first = first_alone(mask, tokens)
                mask, seen = (np.int64(0), first) if first > 0 else (mask, tokens)
        panels, first = stand_of(facts, row) * heads + head, number(facts, FIRST) + row * length
        k, v = moved(keys, panels * up_to_panels(tokens), size), moved(values, panels * up_to_panels(size), tokens)
        none = np.int64(0)  # not a 0, which is a type of its own to Numba: it would compile all that follows twice
        panels_of_head(
            op, by, buffers, first, head, groups, length, size, tokens, seen, k, v, mask, none, none, layer, scratch
        )


@compiled
def first_alone(mask: int, tokens: int) -> int:
    """How many of some tokens a mask shows, where it shows the first alone; 0 where it shows others, or none."""
    flags, count = bytes_at(mask, tokens), np.int64(0)
    while count < tokens and flags[count] != 0:
        count += 1
    for i in range(count, tokens):
        if flags[i] != 0:
            return np.int64(0)
    return count


@compiled
def panels_of_head(
    op: int,
    by: int,
    buffers: int,
    first: int,
    head: int,
    groups: int,
    length: int,
    size: int,
    tokens: int,
    seen: int,
    keys: int,
    values: int,
    mask: int,
    mask_stride: int,
    bias: int,
    layer: int,
    scratch: int,
) -> None:
    """The queries of all heads that share a head of keys, from row `first` on."""
    q, out = moved(place(buffers, op, 1), first, number(op, 3)), moved(place(buffers, op, 4), first, number(op, 6))
    q_step, out_step, bias_step, scale, cap = (
        number(op, 3),
        number(op, 6),
        number(layer, BIAS + 2),
        real(by, 0),
        real(by, 1),
    )
    for h in range(head * groups, (head + 1) * groups):
        at, own = moved(0, h, size), moved(bias, h, number(layer, BIAS + 1)) if bias != 0 else bias
        attend_panels(
            q + at,
            q_step,
            length,
            size,
            tokens,
            seen,
            keys,
            values,
            mask,
            mask_stride,
            own,
            bias_step,
            scale,
            cap,
            out + at,
            out_step,
            scratch,
        )


def attend_long(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """ATTEND_LONG: a sequence over itself, without a cache; a head's keys and values are packed first."""
    heads, size = number(op, 14), number(op, 15)
    groups, layer = number(op, 13) // heads, layer_of(facts, number(op, 16))
    tasks, starts = heads * max(number(facts, BATCH), number(facts, SEQUENCES)), number(facts, STARTS)
    keys = scratch_of(facts, thread)
    for task in range(thread, tasks, threads):  # in turns, so that no thread has all of the longest
        row, head = task // heads, task % heads
        first, length = row * number(facts, LENGTH), number(facts, LENGTH)
        if number(facts, SEQUENCES) > 0:
            first = number(starts, row)
            length = number(starts, row + 1) - first
        values = moved(keys, size, up_to_panels(length))
        rest = moved(values, length, up_to_panels(size))
        packed(op, buffers, 7, first, head, length, size, keys, values)
        mask, step, bias = number(layer, MASK), number(layer, MASK + 2), number(layer, BIAS)
        if mask != 0:
            mask += row * number(layer, MASK + 1)
        panels_of_head(
            op,
            by,
            buffers,
            first,
            head,
            groups,
            length,
            size,
            length,
            length,
            keys,
            values,
            mask,
            step,
            bias,
            layer,
            rest,
        )
    return turns


def pack(op: int, by: int, buffers: int, facts: int, thread: int, threads: int, turns: int) -> int:
    """PACK: keys and values of a source into panels that every step reads."""
    heads, size, length = number(op, 7), number(op, 8), number(facts, LENGTH)
    layer, tasks = layer_of(facts, number(op, 9)), number(facts, BATCH) * heads
    keys, values = number(layer, MEMORY_KEYS), number(layer, MEMORY_VALUES)
    for task in share(tasks, thread, threads):
        row, head = task // heads, task % heads
        to, more = moved(keys, task * up_to_panels(length), size), moved(values, task * up_to_panels(size), length)
        packed(op, buffers, 1, row * length, head, length, size, to, more)
    return turns


@compiled
def packed(
    op: int, buffers: int, at: int, first: int, head: int, length: int, size: int, keys: int, values: int
) -> None:
    """One head of the keys, whose place is at `at`, and the values behind them, into panels."""
    k, v = (
        moved(place(buffers, op, at), first, number(op, at + 2)),
        moved(place(buffers, op, at + 3), first, number(op, at + 5)),
    )
    pack_keys(moved(k, head, size), number(op, at + 2), length, size, keys)
    pack_values(moved(v, head, size), number(op, at + 5), length, size, values)


ATTENTIONS = {
    Code.ATTEND: Kernel(attend),
    Code.ATTEND_MEMORY: Kernel(attend_memory),
    Code.ATTEND_LONG: Kernel(attend_long),
    Code.PACK: Kernel(pack),
}
