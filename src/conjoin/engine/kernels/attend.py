"""Attention kernels: over a cache of keys and values, and over panels of a source that is read again and again.

Keys in panels are (tokens / 32, D, 32) and values (D / 32, tokens, 32): both products of attention are then products of panels,
shared by all queries of a head, the beams of a source among them.
"""

import numpy as np

from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import bytes_at, floats_at, int32s_at, moved
from conjoin.engine.kernels.layout import PANEL
from conjoin.engine.kernels.products import block
from conjoin.engine.kernels.rows import tanh
from conjoin.engine.kernels.slots import mixture_of, scores_of
from conjoin.engine.kernels.soften import soften, soften_four
from conjoin.engine.kernels.squares import transposed
from conjoin.engine.kernels.vectors import LOWEST, WIDTH

__all__ = ["attend_cache", "attend_panels", "pack_keys", "pack_values", "slots_seen", "write_cache"]

HIDDEN = np.float32(LOWEST)
BLOCK = 12  # queries at a time
float_block = block("float32")
scores_32, scores_64, scores_128 = (scores_of(size) for size in (32, 64, 128))  # the widths that heads have
mixture_32, mixture_64, mixture_128 = (mixture_of(size) for size in (32, 64, 128))


@compiled
def write_cache(x: int, stride: int, length: int, size: int, cache: int, at: int) -> None:
    """A head's new keys or values (length, size) into the slots of its cache from `at` on."""
    for t in range(length):
        row, slot = floats_at(moved(x, t, stride), size), floats_at(moved(cache, at + t, size), size)
        for i in range(size):
            slot[i] = row[i]


@compiled
def slots_seen(mask: int, seen: int, chosen: int) -> int:
    """Writes which slots a mask (bytes, 0 for all) shows, as int32, and says how many."""
    slots, count = int32s_at(chosen, seen), 0
    if mask == 0:
        for s in range(seen):
            slots[s] = s
        return seen
    flags = bytes_at(mask, seen)
    for s in range(seen):
        slots[count] = s
        count += np.int64(flags[s] != 0)
    return count


@compiled
def score_slots(query: int, size: int, keys: int, chosen: int, count: int, scale: np.float32, out: int) -> None:
    """A query's products with the keys of some slots, times a scale."""
    if size == 32:
        scores_32(query, keys, chosen, count, scale, out)
    elif size == 64:
        scores_64(query, keys, chosen, count, scale, out)
    elif size == 128:
        scores_128(query, keys, chosen, count, scale, out)
    else:
        q, slots, scores = floats_at(query, size), int32s_at(chosen, count), floats_at(out, count)
        for n in range(count):
            key = floats_at(moved(keys, slots[n], size), size)
            score = np.float32(0)
            for i in range(size):
                score += q[i] * key[i]
            scores[n] = score * scale


@compiled
def mix_slots(weights: int, size: int, values: int, chosen: int, count: int, over: np.float32, out: int) -> None:
    """The values of some slots, by weights, times `over`."""
    if size == 32:
        mixture_32(weights, values, chosen, count, over, out)
    elif size == 64:
        mixture_64(weights, values, chosen, count, over, out)
    elif size == 128:
        mixture_128(weights, values, chosen, count, over, out)
    else:
        by, slots, to = floats_at(weights, count), int32s_at(chosen, count), floats_at(out, size)
        for i in range(size):
            to[i] = np.float32(0)
        for n in range(count):
            value = floats_at(moved(values, slots[n], size), size)
            for i in range(size):
                to[i] += by[n] * value[i]
        for i in range(size):
            to[i] *= over


@compiled
def attend_cache(
    query: int,
    size: int,
    keys: int,
    values: int,
    chosen: int,
    count: int,
    bias: int,
    scale: np.float32,
    cap: np.float32,
    out: int,
    scratch: int,
) -> None:
    """One query over `count` slots of a cache, whose numbers are at `chosen`."""
    row = scratch + 4 * WIDTH
    score_slots(query, size, keys, chosen, count, scale, row)
    if bias != 0:
        slots, scores = int32s_at(chosen, count), floats_at(row, count)
        for n in range(count):
            scores[n] += floats_at(moved(bias, slots[n], 1), 1)[0]
    squeeze(row, count, cap)
    soften(row, WIDTH, count, scratch)
    mix_slots(row, size, values, chosen, count, floats_at(scratch, 1)[0], out)


@compiled
def squeeze(row: int, count: int, cap: np.float32) -> None:
    """Numbers kept within a cap by tanh; up to fifteen more behind them are overwritten."""
    if cap == 0:
        return
    numbers = floats_at(row, count + WIDTH)
    for n in range(count):
        numbers[n] /= cap
    for n in range(count, count + WIDTH):
        numbers[n] = np.float32(0)
    tanh(row, (count + WIDTH - 1) // WIDTH, row, 8 * WIDTH)
    for n in range(count):
        numbers[n] *= cap


@compiled
def soften_rows(rows: int, stride: int, count: int, each: int, overs: int) -> None:
    """`soften` of some rows, `stride` numbers from one to the next."""
    r = 0
    while r < each:
        if r + 4 <= each:
            soften_four(moved(rows, r, stride), 4 * stride, count, moved(overs, r, 1))
            r += 4
        else:
            soften(moved(rows, r, stride), 4 * stride, count, moved(overs, r, 1))
            r += 1


@compiled
def pack_keys(x: int, stride: int, tokens: int, size: int, out: int) -> None:
    """A head's keys (tokens, size) as panels, the last one filled with zeros."""
    for first in range(0, (tokens + PANEL - 1) // PANEL * PANEL, WIDTH):  # half a panel at a time
        rows, to = moved(x, first, stride), moved(out, first - first % PANEL, size) + 4 * (first % PANEL)
        squares = size // WIDTH if first + WIDTH <= tokens else 0
        for i in range(squares):
            transposed(moved(rows, i, WIDTH), 4 * stride, moved(to, i * WIDTH, PANEL), 4 * PANEL)
        half = floats_at(to, PANEL * size)
        for c in range(WIDTH):
            if first + c < tokens:
                row = floats_at(moved(rows, c, stride), size)
                for i in range(squares * WIDTH, size):
                    half[i * PANEL + c] = row[i]
            else:
                for i in range(size):
                    half[i * PANEL + c] = np.float32(0)


@compiled
def pack_values(x: int, stride: int, tokens: int, size: int, out: int) -> None:
    """A head's values (tokens, size) as panels, the last one filled with zeros."""
    for first in range(0, size, PANEL):
        panel = floats_at(moved(out, first, tokens), PANEL * tokens)
        width = min(PANEL, size - first)
        for t in range(tokens):
            row = floats_at(moved(moved(x, t, stride), first, 1), width)
            for c in range(width):
                panel[t * PANEL + c] = row[c]
            for c in range(width, PANEL):
                panel[t * PANEL + c] = np.float32(0)


@compiled
def product(x: int, stride: int, rows: int, panel: int, steps: int, out: int, out_stride: int, scales: int) -> int:
    """As `float_block`, whose code is long, in one place; strides count numbers."""
    return float_block(x, 4 * stride, rows, panel, steps, out, 4 * out_stride, scales)


@compiled
def attend_panels(
    queries: int,
    stride: int,
    rows: int,
    size: int,
    tokens: int,
    seen: int,
    keys: int,
    values: int,
    mask: int,
    mask_stride: int,
    bias: int,
    bias_stride: int,
    scale: np.float32,
    cap: np.float32,
    out: int,
    out_stride: int,
    scratch: int,
) -> None:
    """Queries (rows, size) of one head over packed keys and values of `tokens`, of which the first `seen` are looked at.

    Masks and biases go from row to row by their strides.
    """
    full = (seen + PANEL - 1) // PANEL * PANEL
    padded = full + WIDTH
    sums, overs = floats_at(scratch, BLOCK * PANEL), scratch + 4 * BLOCK * PANEL
    scales, scores = overs + 4 * WIDTH, overs + 8 * WIDTH
    by = floats_at(scales, BLOCK)
    for q in range(BLOCK):
        by[q] = scale
    r = 0
    while r < rows:
        here, done = moved(queries, r, stride), 0
        for first in range(0, full, PANEL):
            to = moved(scores, first, 1)
            done = product(here, stride, rows - r, moved(keys, first, size), size, to, padded, scales)
        for q in range(done if mask != 0 or bias != 0 or cap != 0 else 0):
            shown = mask + (r + q) * mask_stride if mask != 0 else 0
            more = moved(bias, r + q, bias_stride) if bias != 0 else 0
            change(moved(scores, q, padded), seen, shown, more, cap)
        soften_rows(scores, padded, seen, done, overs)
        for first in range(0, size, PANEL):
            final, width = moved(moved(out, r, out_stride), first, 1), min(PANEL, size - first)
            to, to_stride = (final, out_stride) if width == PANEL else (scratch, PANEL)
            product(scores, padded, rows - r, moved(values, first, tokens), seen, to, to_stride, overs)
            for q in range(done if width < PANEL else 0):
                row = floats_at(moved(final, q, out_stride), width)
                for c in range(width):
                    row[c] = sums[q * PANEL + c]
        r += done


@compiled
def change(row: int, tokens: int, mask: int, bias: int, cap: np.float32) -> None:
    """Scores of one query, with room for fifteen more, with their biases, within a cap, without what a mask hides."""
    scores = floats_at(row, tokens)
    if bias != 0:
        more = floats_at(bias, tokens)
        for i in range(tokens):
            scores[i] += more[i]
    squeeze(row, tokens, cap)
    if mask != 0:
        flags = bytes_at(mask, tokens)
        for i in range(tokens):
            scores[i] = scores[i] if flags[i] != 0 else HIDDEN
