"""What was learned for each place of a grid, read at another grid's places: matrices and numbers, computed with NumPy."""

import functools
from typing import Any, Literal

import numpy as np

__all__ = ["stretched_grid", "stretched_window", "window_places"]

Table = np.ndarray[Any, Any]
Grid = tuple[int, int]  # how many places lie below each other, and side by side
Kind = Literal["bicubic", "bilinear"]


def cubic(distance: Table) -> Table:
    """The kernel of bicubic interpolation with a = -0.75 (https://doi.org/10.1109/TASSP.1981.1163711), as PyTorch has it."""
    a, x = -0.75, np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def stretched_line(old: int, new: int, kind: Kind) -> Table:
    """The weights (new, old) of each old place in each new one, the borders repeated; places are the middles of cells."""
    at = (np.arange(new) + 0.5) * (old / new) - 0.5
    if kind == "bilinear":
        at = np.maximum(at, 0.0)
    first = np.floor(at).astype(int)
    weights = np.zeros((new, old))
    for offset in (-1, 0, 1, 2) if kind == "bicubic" else (0, 1):
        distance = at - (first + offset)
        weight = cubic(distance) if kind == "bicubic" else 1 - np.abs(distance)
        np.add.at(weights, (np.arange(new), np.clip(first + offset, 0, old - 1)), weight)
    return weights


@functools.lru_cache(maxsize=32)
def stretched_grid(old: Grid, new: Grid, kind: Kind = "bicubic") -> Table:
    """The matrix (new places, old places) that interpolates a table over a grid, row by row, to another grid."""
    lines = [stretched_line(a, b, kind) for a, b in zip(old, new, strict=True)]
    return np.kron(lines[0], lines[1]).astype(np.float32)


@functools.lru_cache(maxsize=32)
def stretched_window(old: Grid, new: Grid) -> Table:
    """The same of a table over distances within a grid; the three rows of the first token stay."""
    distances = [(2 * height - 1, 2 * width - 1) for height, width in (old, new)]
    inner = stretched_grid(distances[0], distances[1], "bilinear")
    matrix = np.zeros((inner.shape[0] + 3, inner.shape[1] + 3), np.float32)
    matrix[:-3, :-3] = inner
    matrix[-3:, -3:] = np.eye(3)
    return matrix


@functools.lru_cache(maxsize=32)
def window_places(grid: Grid) -> Table:
    """The row of a table over distances for each two tokens (S, S), the first of which is none of the grid's places."""
    height, width = grid
    y, x = (axis.reshape(-1) for axis in np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    down, across = y[:, None] - y[None, :], x[:, None] - x[None, :]
    rows = (2 * height - 1) * (2 * width - 1)
    places = np.zeros((height * width + 1, height * width + 1), np.int32)
    places[1:, 1:] = (down + height - 1) * (2 * width - 1) + across + width - 1
    places[0, :], places[:, 0], places[0, 0] = rows, rows + 1, rows + 2
    return places
