"""What the layers of a stack see, for some rows alone, and written down for the kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conjoin.blocks import Sight
from conjoin.engine.arrays import Array, address, contiguous
from conjoin.engine.kernels.layout import PerLayer

__all__ = ["see", "some", "step"]


def some(sights: Sequence[Sight], rows: slice, batch: int) -> list[Sight]:
    """What layers see, of some rows; what several have in common stays one."""
    known: dict[int, Array] = {}

    def cut(x: Array | None) -> Array | None:
        return x if x is None or len(x) != batch else known.setdefault(id(x), x[rows])

    turns = (None if sight.turn is None else (cut(sight.turn[0]), cut(sight.turn[1])) for sight in sights)
    return [sight._replace(mask=cut(sight.mask), turn=turn) for sight, turn in zip(sights, turns, strict=True)]


def step(x: Array, axis: int) -> int:
    """Numbers from one to the next along an axis; 0 where one serves all."""
    return 0 if x.shape[axis] == 1 else x.strides[axis] // x.itemsize


def see(facts: Array, at: int, sight: Sight) -> list[Any]:
    """Writes what a layer's self-attention sees."""
    mask, bias, turn = sight.mask, sight.bias, sight.turn
    facts[at + PerLayer.MASK] = facts[at + PerLayer.BIAS] = 0
    if mask is not None:
        mask = mask if mask.strides[-1] == 1 else np.ascontiguousarray(mask)
        facts[at + PerLayer.MASK : at + PerLayer.MASK + 3] = address(mask), step(mask, 0), step(mask, 2)
    if bias is not None:
        bias = contiguous(bias)
        facts[at + PerLayer.BIAS : at + PerLayer.BIAS + 3] = address(bias), step(bias, 1), step(bias, 2)
        facts[at + PerLayer.BIAS_ROW] = step(bias, 0)
    if turn is not None:
        turn = contiguous(turn[0]), contiguous(turn[1])
        facts[at + PerLayer.COSINES : at + PerLayer.COSINES + 2] = address(turn[0]), address(turn[1])
        strides = step(turn[0], 0), step(turn[0], 2)
        facts[at + PerLayer.TURN_STRIDES : at + PerLayer.TURN_STRIDES + 2] = strides
    return [mask, bias, turn]
