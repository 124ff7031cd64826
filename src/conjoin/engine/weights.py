"""Weights of linear layers in panels (kernels/instructions.py), in float32, bfloat16, float16 or int8."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.engine.arrays import Array, address, wide, zeros
from conjoin.engine.kernels.layout import PANEL, Mode

__all__ = [
    "Panels",
    "cut",
    "empty_panels",
    "filled",
    "panels_of",
    "plain",
    "quantised",
    "rejoined",
    "rows_of",
    "with_bias",
]

STEP = {Mode.FLOAT32: 1, Mode.BFLOAT16: 2, Mode.INT8: 4, Mode.FLOAT16: 2}  # numbers of an input that one step reads
KINDS: dict[Mode, Any] = {
    Mode.FLOAT32: np.float32,
    Mode.BFLOAT16: np.uint16,
    Mode.INT8: np.int8,
    Mode.FLOAT16: np.float16,
}
CHUNK = 64  # panels that are written at a time


@dataclass
class Panels:
    """A weight (out, in) in panels, and what comes after the product; each vector has out numbers, filled to whole panels."""

    mode: Mode
    inputs: int
    outputs: int
    numbers: Array  # (panels, steps, 32, numbers a step)
    scales: Array | None = None  # of each channel of int8
    corrections: Array | None = None  # what 128, around which a row's bytes lie, adds to each channel's sum
    bias: Array | None = None
    whole: "Panels | None" = None  # of which these are a part

    @property
    def addresses(self) -> tuple[int, int, int, int, int]:
        """weight, mode, scales, corrections, bias, as an operation has them."""
        at = [0 if x is None else address(x) for x in (self.scales, self.corrections, self.bias)]
        return address(self.numbers), int(self.mode), *at  # type: ignore[return-value]


def quantised(weight: Array) -> tuple[Array, Array]:
    """A weight (out, in) as int8 and its scales (out,): each channel's largest number becomes 127."""
    weight = wide(weight)
    scales = np.abs(weight).max(1) / np.float32(127)
    by = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    return np.rint(weight * by[:, None]).astype(np.int8), scales


def empty_panels(outputs: int, inputs: int, mode: Mode = Mode.INT8, bias: bool = False) -> Panels:
    """Room for a weight (out, in)."""
    count, step = -(-outputs // PANEL), STEP[mode]
    made = Panels(mode, inputs, outputs, zeros((count, -(-inputs // step), PANEL, step), KINDS[mode]))
    if mode is Mode.INT8:
        made.scales, made.corrections = (zeros((count * PANEL,)) for _ in range(2))
    if bias:
        made.bias = zeros((count * PANEL,))
    return made


def panels_of(weights: list[Array], biases: list[Array | None], mode: Mode) -> Panels:
    """One or several float weights (out, in) over one input, joined along `out`."""
    made = empty_panels(
        sum(len(w) for w in weights), weights[0].shape[1], mode, bias=any(b is not None for b in biases)
    )
    start = 0
    for weight, bias in zip(weights, biases, strict=True):
        end = start + len(weight)
        write(made, weight, start, end)
        if bias is not None and made.bias is not None:
            made.bias[start:end] = wide(bias)
        start = end
    return made


def write(made: Panels, numbers: Array, start: int, end: int) -> None:
    """Writes numbers (end - start, in) into the channels from `start` to `end`."""
    step = made.numbers.shape[3]
    for first in range(start // PANEL, -(-end // PANEL), CHUNK):
        last = min(first + CHUNK, -(-end // PANEL))
        block = made.numbers[first:last].swapaxes(1, 2)  # (panels, 32, steps, step), a view
        whole = block.reshape((last - first) * PANEL, -1)  # a copy
        low, high = max(start, first * PANEL), min(end, last * PANEL)
        whole[low - first * PANEL : high - first * PANEL, : numbers.shape[1]] = numbers[low - start : high - start]
        block[...] = whole.reshape(last - first, PANEL, -1, step)


# int8.


def filled(made: Panels, numbers: Array, scales: Array) -> None:
    """Writes int8 numbers (out, in) and their scales."""
    assert made.scales is not None
    assert made.corrections is not None
    write(made, numbers, 0, made.outputs)
    made.scales[: made.outputs] = scales
    made.corrections[: made.outputs] = 128.0 * numbers.sum(1, dtype=np.int32)


def plain(made: Panels) -> tuple[Array, Array]:
    """int8 numbers (out, in) and scales (out,)."""
    assert made.scales is not None
    numbers = made.numbers.swapaxes(1, 2).reshape(len(made.numbers) * PANEL, -1)
    return np.ascontiguousarray(numbers[: made.outputs, : made.inputs]), made.scales[: made.outputs].copy()


def rows_of(made: Panels, ids: Array) -> Array:
    """Channels ids (...) as float32 (..., in): what an embedding looks up."""
    assert made.scales is not None
    found = made.numbers[ids // PANEL, :, ids % PANEL].reshape(*ids.shape, -1)[..., : made.inputs]
    return wide(found) * made.scales[ids][..., None]


def cut(whole: Panels, sizes: list[int]) -> list[Panels]:
    """Parts of whole panels that lie one after another; nothing where a part does not fill its last panel."""
    if any(size % PANEL for size in sizes):
        return []
    parts, at = [], 0
    for size in sizes:
        channels = slice(at, at + size)
        parts.append(
            Panels(
                whole.mode,
                whole.inputs,
                size,
                whole.numbers[at // PANEL : (at + size) // PANEL],
                whole.scales[channels],  # type: ignore[index]
                whole.corrections[channels],  # type: ignore[index]
                whole=whole,
            )
        )
        at += size
    return parts


def rejoined(parts: list[Panels]) -> Panels | None:
    """What `cut` made the parts of, where they are all of it and in order."""
    whole = parts[0].whole
    if whole is None or any(part.whole is not whole for part in parts):
        return None
    return whole if sum(part.outputs for part in parts) == whole.outputs else None


def with_bias(panels: Panels, biases: list[Array | None], sizes: list[int]) -> Panels:
    """The same numbers with biases after the product."""
    bias = None
    if any(b is not None for b in biases):
        bias = zeros((len(panels.numbers) * PANEL,))
        start = 0
        for one, size in zip(biases, sizes, strict=True):
            if one is not None:
                bias[start : start + size] = wide(one)
            start += size
    return replace(panels, bias=bias)
