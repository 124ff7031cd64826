"""Weights as whole numbers and scales, as files keep them: int8 with a scale for each channel, int4 with one for each 32 inputs.

Of int4 a byte holds two inputs, the earlier one in its lower half; scales are float16.
"""

from collections.abc import Iterator

import numpy as np

from conjoin.engine.arrays import Array, wide
from conjoin.engine.kernels.layout import GROUP, Mode

__all__ = ["plain_shapes", "quantised", "widened"]

ROWS = 4096  # channels at a time: what stands between is larger than what comes out
MOST = 7  # of int4 numbers, the least of which is -8
TRIED = np.linspace(0.7, 1.0, 7, dtype=np.float32)  # scales of a group, as parts of the one that cuts nothing off
TINY = np.float32(6e-8)  # the least float16 number


def plain_shapes(mode: Mode, outputs: int, inputs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the numbers and of the scales of a weight (out, in)."""
    if mode is Mode.INT4_WEIGHTS:
        return (outputs, -(-inputs // 2)), (outputs, -(-inputs // GROUP))
    return (outputs, inputs), (outputs,)


def quantised(weight: Array, mode: Mode = Mode.INT8) -> tuple[Array, Array]:
    """A float weight (out, in) as numbers and scales."""
    made = [(by_groups if mode is Mode.INT4_WEIGHTS else by_channels)(rows) for rows in pieces(weight)]
    numbers, scales = zip(*made, strict=True)
    return np.concatenate(numbers), np.concatenate(scales)


def pieces(weight: Array) -> Iterator[Array]:
    """Some channels at a time, in float32."""
    for start in range(0, len(weight), ROWS):
        yield wide(weight[start : start + ROWS])


def by_channels(weight: Array) -> tuple[Array, Array]:
    """int8 (out, in) and scales (out,): each channel's largest number becomes 127."""
    scales = np.abs(weight).max(1) / np.float32(127)
    by = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    return np.rint(weight * by[:, None]).astype(np.int8), scales


def by_groups(weight: Array) -> tuple[Array, Array]:
    """int4 (out, in / 2) and scales (out, groups): of some scales for a group the one that is wrong by the least square."""
    outputs, inputs = weight.shape
    numbers, scales = plain_shapes(Mode.INT4_WEIGHTS, outputs, inputs)
    groups = np.zeros((outputs, scales[1] * GROUP), np.float32)
    groups[:, :inputs] = weight
    groups = groups.reshape(outputs, -1, GROUP)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(2)[..., None], 2)[..., 0]
    least, best = np.full(scales, np.inf, np.float32), np.zeros(scales, np.float16)
    for part in TRIED:  # the largest number becomes -8, or is cut off to it
        tried = (largest * (part / np.float32(-MOST - 1))).astype(np.float16)
        wrong = np.square(rounded(groups, tried) * tried.astype(np.float32)[..., None] - groups).sum(2)
        best, least = np.where(wrong < least, tried, best), np.minimum(wrong, least)
    whole = rounded(groups, best).astype(np.int8).reshape(outputs, -1, 2)
    packed = (whole[..., 0] & 15) | (whole[..., 1] << 4)
    return packed.view(np.uint8)[:, : numbers[1]], best


def rounded(groups: Array, scales: Array) -> Array:
    """Groups (..., 32) in steps of their scales, -8 to 7."""
    near = np.abs(scales) >= TINY
    by = np.divide(1, scales.astype(np.float32), out=np.zeros(scales.shape, np.float32), where=near)
    near_by: Array = np.clip(np.rint(groups * by[..., None]), -MOST - 1, MOST)
    return near_by


def widened(numbers: Array, scales: Array, mode: Mode, inputs: int) -> Array:
    """What numbers and scales (..., of `plain_shapes`) stand for, (..., in) in float32."""
    if mode is not Mode.INT4_WEIGHTS:
        return wide(numbers) * scales[..., None]
    halves = np.stack([numbers << 4, numbers], -1).view(np.int8) >> 4
    whole = halves.reshape(*numbers.shape[:-1], -1)[..., :inputs].astype(np.float32)
    made: Array = whole * np.repeat(wide(scales), GROUP, -1)[..., :inputs]
    return made
