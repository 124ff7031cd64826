"""Weights of linear layers in panels (kernels/instructions.py), in float32, bfloat16, float16, int8 or int4."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conjoin.engine.arrays import Array, address, wide
from conjoin.engine.kernels.layout import PANEL, Mode
from conjoin.engine.pages import lasting_zeros
from conjoin.engine.quantised import plain_shapes, widened

__all__ = [
    "Panels",
    "cut",
    "empty_panels",
    "filled",
    "panels_of",
    "plain",
    "rejoined",
    "rows_of",
    "some_channels",
    "with_bias",
]

KINDS: dict[Mode, Any] = {  # what 4 bytes of a channel, which one step reads, are made of
    Mode.FLOAT32: np.float32,
    Mode.BFLOAT16: np.uint16,
    Mode.INT8: np.int8,
    Mode.FLOAT16: np.float16,
    Mode.INT8_WEIGHTS: np.int8,
    Mode.INT4_WEIGHTS: np.uint8,  # two inputs
}
CHUNK = 64  # panels that are written at a time


@dataclass
class Panels:
    """A weight (out, in) in panels, and what comes after the product; each vector has out numbers, filled to whole panels."""

    mode: Mode
    inputs: int
    outputs: int
    numbers: Array  # (panels, steps, 32, numbers a step)
    scales: Array | None = None  # of each channel of int8 (panels * 32,), of groups of int4 (panels, groups, 32)
    corrections: Array | None = None  # what 128, around which a row's bytes lie, adds to each channel's sum
    bias: Array | None = None
    whole: "Panels | None" = None  # of which these are a part

    @property
    def is_whole(self) -> bool:
        """Whether no step of a product would read more of a row than there is, where rows stay float32."""
        step = {Mode.FLOAT16: 2, Mode.INT8_WEIGHTS: 4, Mode.INT4_WEIGHTS: 8}.get(self.mode, 1)
        return self.inputs % step == 0

    @property
    def addresses(self) -> tuple[int, int, int, int, int]:
        """weight, mode, scales, corrections, bias, as an operation has them."""
        at = [0 if x is None else address(x) for x in (self.scales, self.corrections, self.bias)]
        return address(self.numbers), int(self.mode), *at  # type: ignore[return-value]


def empty_panels(outputs: int, inputs: int, mode: Mode = Mode.INT8, bias: bool = False) -> Panels:
    """Room for a weight (out, in)."""
    count, step = -(-outputs // PANEL), 4 // np.dtype(KINDS[mode]).itemsize
    (_, width), scales = plain_shapes(mode, outputs, inputs)
    made = Panels(mode, inputs, outputs, lasting_zeros((count, -(-width // step), PANEL, step), KINDS[mode]))
    if mode is Mode.INT4_WEIGHTS:
        made.scales = lasting_zeros((count, scales[1], PANEL), np.float16)
    elif mode in (Mode.INT8, Mode.INT8_WEIGHTS):
        made.scales = lasting_zeros((count * PANEL,))
    if mode is Mode.INT8:
        made.corrections = lasting_zeros((count * PANEL,))
    if bias:
        made.bias = lasting_zeros((count * PANEL,))
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


# int8 and int4.


def scale_rows(made: Panels) -> Array:
    """The scales of each channel, those that fill the last panel too: (panels, 32) or (panels, 32, groups), a view."""
    assert made.scales is not None
    return made.scales.reshape(-1, PANEL) if made.scales.ndim == 1 else made.scales.swapaxes(1, 2)


def filled(made: Panels, numbers: Array, scales: Array) -> None:
    """Writes numbers and scales of quantised.py."""
    write(made, numbers, 0, made.outputs)
    rows, whole = scale_rows(made), made.outputs // PANEL
    rows[:whole] = scales[: whole * PANEL].reshape(rows[:whole].shape)
    rows[whole:, : made.outputs % PANEL] = scales[whole * PANEL :]
    if made.corrections is not None:
        made.corrections[: made.outputs] = 128.0 * numbers.sum(1, dtype=np.int32)


def plain(made: Panels) -> tuple[Array, Array]:
    """Numbers and scales of quantised.py."""
    return channels_of(made, np.arange(made.outputs))


def channels_of(made: Panels, ids: Array) -> tuple[Array, Array]:
    """The same of channels ids (...)."""
    (_, width), _ = plain_shapes(made.mode, made.outputs, made.inputs)
    panel, channel = ids // PANEL, ids % PANEL
    steps = np.ascontiguousarray(as_steps(made)[panel, :, channel])  # 4 bytes at a time
    numbers = steps.view(made.numbers.dtype)[..., :width]
    return np.ascontiguousarray(numbers), np.ascontiguousarray(scale_rows(made)[panel, channel])


def rows_of(made: Panels, ids: Array) -> Array:
    """Channels ids (...) as float32 (..., in): what an embedding looks up."""
    return widened(*channels_of(made, ids), made.mode, made.inputs)


def as_steps(made: Panels) -> Array:
    """(panels, steps, 32): the 4 bytes of each step and channel, a view."""
    return made.numbers.view(np.uint32)[..., 0]


def some_channels(made: Panels, ids: Array) -> Panels:
    """The channels ids (n,) alone, in any type: those of a shortlist."""
    found = empty_panels(len(ids), made.inputs, made.mode, bias=made.bias is not None)
    filling = np.resize(ids, len(found.numbers) * PANEL)  # the last panel is filled with any
    panel, channel, numbers = filling // PANEL, filling % PANEL, as_steps(made)
    as_steps(found)[...] = numbers[panel, :, channel].reshape(-1, PANEL, numbers.shape[1]).swapaxes(1, 2)
    if made.scales is not None:
        scale_rows(found)[...] = scale_rows(made)[panel, channel].reshape(scale_rows(found).shape)
    for name in ("corrections", "bias"):
        if getattr(made, name) is not None:
            getattr(found, name)[...] = getattr(made, name)[filling]
    return found


def cut(whole: Panels, sizes: list[int]) -> list[Panels]:
    """Parts of whole panels that lie one after another; nothing where a part does not fill its last panel."""
    if any(size % PANEL for size in sizes):
        return []
    parts, at = [], 0
    for size in sizes:
        panels = slice(at // PANEL, (at + size) // PANEL)
        channels = slice(at, at + size)
        scales = whole.scales[channels if whole.scales.ndim == 1 else panels]  # type: ignore[index,union-attr]
        corrections = None if whole.corrections is None else whole.corrections[channels]
        parts.append(Panels(whole.mode, whole.inputs, size, whole.numbers[panels], scales, corrections, whole=whole))
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
        bias = lasting_zeros((len(panels.numbers) * PANEL,))
        start = 0
        for one, size in zip(biases, sizes, strict=True):
            if one is not None:
                bias[start : start + size] = wide(one)
            start += size
    return replace(panels, bias=bias)
