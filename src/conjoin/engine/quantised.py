"""Weights as whole numbers and scales, as files keep them: int8 with a scale for each channel, int4 with one for each 16 inputs.

Of int4 a byte holds two inputs, the earlier one in its lower half; scales are float16.
"""

from collections.abc import Iterator

import numpy as np

from conjoin.engine.arrays import Array, wide
from conjoin.engine.compensated import LEAST, Inputs, in_steps
from conjoin.engine.kernels.layout import GROUP, Mode

__all__ = ["plain_shapes", "quantised", "widened"]

ROWS = 4096  # channels at a time: what stands between is larger than what comes out
TRIED = np.linspace(0.7, 1.0, 7, dtype=np.float32)  # scales of a group, as parts of the one that cuts nothing off


def plain_shapes(mode: Mode, outputs: int, inputs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the numbers and of the scales of a weight (out, in)."""
    if mode is Mode.INT4_WEIGHTS:
        return (outputs, -(-inputs // 2)), (outputs, -(-inputs // GROUP))
    return (outputs, inputs), (outputs,)


def quantised(weight: Array, mode: Mode = Mode.INT8, inputs: Inputs | None = None) -> tuple[Array, Array]:
    """A float weight (out, in) as numbers and scales; in int4 with errors that make up for one another on such inputs."""
    made = [by_groups(rows, inputs) if mode is Mode.INT4_WEIGHTS else by_channels(rows) for rows in pieces(weight)]
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


def by_groups(weight: Array, inputs: Inputs | None) -> tuple[Array, Array]:
    """int4 (out, in / 2) and scales (out, groups)."""
    weight = weight if inputs is None else inputs.wanted(weight)
    groups = in_groups(weight)
    scales = best_scales(groups, 1 if inputs is None else in_groups(inputs.importance))
    steps = wide(scales)[..., None]
    whole = in_steps(groups, steps) if inputs is None else in_groups(inputs.rounded(weight, scales, GROUP))
    halves = whole.astype(np.int8).reshape(len(weight), -1, 2)
    packed = (halves[..., 0] & 15) | (halves[..., 1] << 4)
    return packed.view(np.uint8)[:, : -(-weight.shape[1] // 2)], scales


def in_groups(x: Array) -> Array:
    """Numbers (..., in) as (..., groups, 16), zeros behind the last."""
    filled = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % GROUP)])
    return filled.reshape(*x.shape[:-1], -1, GROUP)


def best_scales(groups: Array, importance: Array | int) -> Array:
    """Scales (out, groups) in float16: of some for a group (..., 16) the one that is wrong by the least square."""
    largest = np.take_along_axis(groups, np.abs(groups).argmax(2)[..., None], 2)[..., 0]
    least, best = np.full(largest.shape, np.inf, np.float32), np.zeros(largest.shape, np.float16)
    for part in TRIED:  # the largest number becomes -8, or is cut off to it
        tried = (largest * (part / np.float32(LEAST))).astype(np.float16)
        steps = wide(tried)[..., None]
        wrong = (np.square(in_steps(groups, steps) * steps - groups) * importance).sum(2)
        best, least = np.where(wrong < least, tried, best), np.minimum(wrong, least)
    return best


def widened(numbers: Array, scales: Array, mode: Mode, inputs: int) -> Array:
    """What numbers and scales (..., of `plain_shapes`) stand for, (..., in) in float32."""
    if mode is not Mode.INT4_WEIGHTS:
        return wide(numbers) * scales[..., None]
    halves = np.stack([numbers << 4, numbers], -1).view(np.int8) >> 4
    whole = halves.reshape(*numbers.shape[:-1], -1)[..., :inputs].astype(np.float32)
    made: Array = whole * np.repeat(wide(scales), GROUP, -1)[..., :inputs]
    return made
