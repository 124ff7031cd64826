"""Attention kernels: over a cache of keys and values, and over panels of a source that is read again and again.

Keys in panels are (tokens / 32, D, 32) and values (D / 32, tokens, 32): both products of attention are then products of panels,
shared by all queries of a head, the beams of a source among them.
"""

import numpy as np

from conjoin.engine.kernels.compiling import compiled
from conjoin.engine.kernels.instructions import bytes_at, floats_at, int32s_at
from conjoin.engine.kernels.layout import PANEL
from conjoin.engine.kernels.maths import exponential, hyperbolic_tangent
from conjoin.engine.kernels.rows import float_block

__all__ = ["attend_cache", "attend_panels", "pack_keys", "pack_values", "write_cache"]

LOWEST = np.float32(-3.4028234663852886e38)
BLOCK = 12  # queries at a time


@compiled
def write_cache(x: int, stride: int, length: int, size: int, cache: int, at: int) -> None:
    """A head's new keys or values (length, size) into the slots of its cache from `at` on."""
    for t in range(length):
        row, slot = floats_at(x + 4 * t * stride, size), floats_at(cache + 4 * (at + t) * size, size)
        for i in range(size):
            slot[i] = row[i]


@compiled
def attend_cache(
    query: int,
    size: int,
    keys: int,
    values: int,
    seen: int,
    mask: int,
    bias: int,
    scale: np.float32,
    cap: np.float32,
    out: int,
    scratch: int,
) -> None:
    """One query over the slots of a cache that its mask (bytes, 0 for all) shows it."""
    q, to = floats_at(query, size), floats_at(out, size)
    scores, chosen = floats_at(scratch, seen), int32s_at(scratch + 4 * seen, seen)
    count = 0
    if mask == 0:
        for s in range(seen):
            chosen[s] = s
        count = seen
    else:
        flags = bytes_at(mask, seen)
        for s in range(seen):
            chosen[count] = s
            count += np.int64(flags[s] != 0)
    best = LOWEST
    for n in range(count):
        s = chosen[n]
        key = floats_at(keys + 4 * s * size, size)
        score = np.float32(0)
        for i in range(size):
            score += q[i] * key[i]
        score *= scale
        if bias != 0:
            score += floats_at(bias, seen)[s]
        if cap != 0:
            score = cap * hyperbolic_tangent(score / cap)
        scores[n] = score
        best = max(best, score)
    total = np.float32(0)
    for n in range(count):
        scores[n] = exponential(scores[n] - best)
    for n in range(count):
        total += scores[n]
    for i in range(size):
        to[i] = np.float32(0)
    over = np.float32(1) / total if count > 0 else np.float32(0)
    for n in range(count):
        weight = scores[n] * over
        value = floats_at(values + 4 * chosen[n] * size, size)
        for i in range(size):
            to[i] += weight * value[i]


@compiled
def pack_keys(x: int, stride: int, tokens: int, size: int, out: int) -> None:
    """A head's keys (tokens, size) as panels, the last one filled with zeros."""
    for first in range(0, tokens, PANEL):
        panel = floats_at(out + 4 * first * size, PANEL * size)
        for c in range(PANEL):
            if first + c < tokens:
                row = floats_at(x + 4 * (first + c) * stride, size)
                for i in range(size):
                    panel[i * PANEL + c] = row[i]
            else:
                for i in range(size):
                    panel[i * PANEL + c] = np.float32(0)


@compiled
def pack_values(x: int, stride: int, tokens: int, size: int, out: int) -> None:
    """A head's values (tokens, size) as panels, the last one filled with zeros."""
    for first in range(0, size, PANEL):
        panel = floats_at(out + 4 * first * tokens, PANEL * tokens)
        width = min(PANEL, size - first)
        for t in range(tokens):
            row = floats_at(x + 4 * (t * stride + first), width)
            for c in range(width):
                panel[t * PANEL + c] = row[c]
            for c in range(width, PANEL):
                panel[t * PANEL + c] = np.float32(0)


@compiled
def attend_panels(
    queries: int,
    stride: int,
    rows: int,
    size: int,
    tokens: int,
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
    """Queries (rows, size) of one head over packed keys and values; masks and biases go from row to row by their strides."""
    padded = (tokens + PANEL - 1) // PANEL * PANEL
    sums, scores = floats_at(scratch, BLOCK * PANEL), scratch + 4 * BLOCK * PANEL
    r = 0
    while r < rows:
        here, done = queries + 4 * r * stride, 0
        for first in range(0, padded, PANEL):
            done = float_block(here, 4 * stride, rows - r, keys + 4 * first * size, 4 * PANEL, size, scratch)
            for one in range(done):
                to = floats_at(scores + 4 * (one * padded + first), PANEL)
                for c in range(PANEL):
                    to[c] = sums[one * PANEL + c] * scale
        for one in range(done):
            row = floats_at(scores + 4 * one * padded, tokens)
            shown = mask + (r + one) * mask_stride if mask != 0 else 0
            more = bias + 4 * (r + one) * bias_stride if bias != 0 else 0
            weigh(row, tokens, shown, more, cap)
        for first in range(0, size, PANEL):
            float_block(scores, 4 * padded, rows - r, values + 4 * first * tokens, 4 * PANEL, tokens, scratch)
            width = min(PANEL, size - first)
            for one in range(done):
                to = floats_at(out + 4 * ((r + one) * out_stride + first), width)
                for c in range(width):
                    to[c] = sums[one * PANEL + c]
        r += done


@compiled
def weigh(row: np.ndarray, tokens: int, mask: int, bias: int, cap: np.float32) -> None:
    """Scores of one query as its attention weights; zeros where the mask hides all."""
    if bias != 0:
        more = floats_at(bias, tokens)
        for i in range(tokens):
            row[i] += more[i]
    if cap != 0:
        for i in range(tokens):
            row[i] = cap * hyperbolic_tangent(row[i] / cap)
    if mask != 0:
        flags = bytes_at(mask, tokens)
        for i in range(tokens):
            row[i] = row[i] if flags[i] != 0 else LOWEST
    best = LOWEST
    for i in range(tokens):
        best = max(best, row[i])
    total = np.float32(0)
    for i in range(tokens):
        row[i] = exponential(row[i] - best)
    if mask != 0:
        flags = bytes_at(mask, tokens)
        for i in range(tokens):
            row[i] = row[i] if flags[i] != 0 else np.float32(0)
    for i in range(tokens):
        total += row[i]
    over = np.float32(1) / total if total > 0 else np.float32(0)
    for i in range(tokens):
        row[i] *= over
