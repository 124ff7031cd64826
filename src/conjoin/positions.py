"""What positions and distances mean, as tables computed once with NumPy, for all frameworks.

Frequencies of rotary positions, sinusoidal tables, buckets of distances, slopes of attention over distance.
"""

import functools
import math
from typing import Any

import numpy as np

from conjoin.spec import Disentangled, Relative, StackSpec

__all__ = ["distance_buckets", "place_rows", "sinusoids", "slopes"]

Table = np.ndarray[Any, Any]


def sinusoids(spec: StackSpec) -> Table:
    """The position table (positions, width): all sines, then all cosines (section 3.5 of https://arxiv.org/abs/1706.03762).

    "halves" is the paper's frequencies, as Marian and Pegasus have them; "fairseq" spreads them over one pair less, and
    leaves the row before the first position empty, as XGLM and TrOCR do.
    """
    rows, width = spec.positions, spec.token_width
    pairs = (width + 1) // 2 if spec.sinusoidal == "halves" else width // 2
    if spec.sinusoidal == "halves":
        angles = np.arange(rows)[:, None] / np.power(10000.0, 2.0 * np.arange(pairs) / width)
        return np.concatenate([np.sin(angles)[:, :pairs], np.cos(angles)[:, : width - pairs]], 1).astype(np.float32)
    step = np.float32(math.log(10000) / (pairs - 1))
    # Rounded once: a speed's last bit is worth 1e-4 a thousand positions on, and NumPy's exp in float32 often misses it.
    speeds = np.exp((np.arange(pairs, dtype=np.float32) * -step).astype(np.float64)).astype(np.float32)
    turns = np.arange(rows, dtype=np.float32)[:, None] * speeds
    table = np.concatenate([np.sin(turns), np.cos(turns), np.zeros((rows, width % 2), np.float32)], 1)
    table[spec.position_offset - 1] = 0.0
    return table.astype(np.float32)


@functools.lru_cache(maxsize=32)
def distance_buckets(relative: Relative, causal: bool) -> Table:
    """The bucket of each distance key - query from -farthest to farthest (2 farthest + 1,), as T5 has them.

    Near distances have a bucket each, far ones share it on a logarithmic scale; the last is for all that are farther.
    """
    distance = np.arange(-relative.farthest, relative.farthest + 1)
    buckets, start = relative.buckets, np.zeros_like(distance)
    if causal:
        distance = -np.minimum(distance, 0)
    else:
        buckets //= 2
        start, distance = (distance > 0) * buckets, np.abs(distance)
    exact = buckets // 2
    scale = np.float32(math.log(relative.farthest / exact))
    far = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / scale * np.float32(buckets - exact)
    shared = np.minimum(exact + np.maximum(far, 0).astype(np.int64), buckets - 1)
    found: Table = start + np.where(distance < exact, distance, shared)
    return found


@functools.lru_cache(maxsize=32)
def place_rows(kind: Disentangled) -> Table:
    """The row of each distance query - key from -farthest to farthest (2 farthest + 1,), as DeBERTa has them.

    With buckets, distances up to a quarter of the rows have a row each, and farther ones share rows on a logarithmic
    scale; computed in float32, in which the borders between rows were drawn.
    """
    distance, half = np.arange(-kind.farthest, kind.farthest + 1), kind.rows // 2
    if kind.buckets:
        near = half // 2
        away = np.maximum(np.abs(distance), near).astype(np.float32)
        ratio = np.log(away / np.float32(near)) / np.log(np.float32((kind.farthest - 1) / near))
        far = np.sign(distance) * (np.ceil(ratio * np.float32(near - 1)).astype(np.int64) + near)
        distance = np.where(np.abs(distance) <= near, distance, far)
    found: Table = np.clip(distance + half, 0, kind.rows - 1)
    return found


def slopes(heads: int) -> Table:
    """How much each head's scores fall with a token of distance (H,), as section 3 of https://arxiv.org/abs/2108.12409."""
    whole = 2 ** math.floor(math.log2(heads))
    base = 2.0 ** -(2.0 ** -(math.log2(whole) - 3))
    found = [base**i for i in range(1, whole + 1)]
    if whole != heads:
        between = 2.0 ** -(2.0 ** -(math.log2(2 * whole) - 3))
        found += [between**i for i in range(1, 2 * (heads - whole) + 1, 2)]
    return np.asarray(found, np.float32)
