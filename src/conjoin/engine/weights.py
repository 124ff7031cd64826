"""Weights of linear layers in panels (kernels/instructions.py), in float32, bfloat16, float16 or int8."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from conjoin.engine.kernels.layout import PANEL, Mode

__all__ = [
    "Panels",
    "aligned",
    "cut",
    "empty_panels",
    "filled",
    "mode_of",
    "panels_of",
    "plain",
    "quantised",
    "rejoined",
    "rows_of",
    "with_bias",
]

STEP = {Mode.FLOAT32: 1, Mode.BFLOAT16: 2, Mode.INT8: 4, Mode.FLOAT16: 2}  # numbers of an input that one step reads
KINDS = {
    Mode.FLOAT32: torch.float32,
    Mode.BFLOAT16: torch.bfloat16,
    Mode.INT8: torch.int8,
    Mode.FLOAT16: torch.float16,
}
LINE = 64  # bytes of a cache line
CHUNK = 64  # panels that are written at a time


@dataclass
class Panels:
    """A weight (out, in) in panels, and what comes after the product; each vector has out numbers, filled to whole panels."""

    mode: Mode
    inputs: int
    outputs: int
    numbers: Tensor  # (panels, steps, 32, numbers a step)
    scales: Tensor | None = None  # of each channel of int8
    corrections: Tensor | None = None  # what 128, around which a row's bytes lie, adds to each channel's sum
    bias: Tensor | None = None
    whole: "Panels | None" = None  # of which these are a part

    @property
    def addresses(self) -> tuple[int, int, int, int, int]:
        """weight, mode, scales, corrections, bias, as an operation has them."""
        at = [0 if t is None else t.data_ptr() for t in (self.scales, self.corrections, self.bias)]
        return self.numbers.data_ptr(), int(self.mode), *at  # type: ignore[return-value]


def mode_of(kind: torch.dtype) -> Mode:
    """The mode of a type."""
    return next(mode for mode, one in KINDS.items() if one == kind)


def aligned(shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    """Zeros that begin with a cache line."""
    size = int(np.prod(shape)) * kind.itemsize
    whole = torch.zeros(size + LINE, dtype=torch.uint8)
    skip = -whole.data_ptr() % LINE
    return whole[skip : skip + size].view(kind).view(shape)


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight (out, in) as int8 and its scales (out,): each channel's largest number becomes 127."""
    scales = weight.abs().amax(1).float() / 127
    by = torch.where(scales > 0, 1 / scales, 0)
    return (weight.float() * by[:, None]).round_().to(torch.int8), scales


def empty_panels(outputs: int, inputs: int, mode: Mode = Mode.INT8, bias: bool = False) -> Panels:
    """Room for a weight (out, in)."""
    count, step = -(-outputs // PANEL), STEP[mode]
    made = Panels(mode, inputs, outputs, aligned((count, -(-inputs // step), PANEL, step), KINDS[mode]))
    if mode is Mode.INT8:
        made.scales, made.corrections = (aligned((count * PANEL,), torch.float32) for _ in range(2))
    if bias:
        made.bias = aligned((count * PANEL,), torch.float32)
    return made


def panels_of(weights: list[Tensor], biases: list[Tensor | None], mode: Mode) -> Panels:
    """One or several float weights (out, in) over one input, joined along `out`."""
    made = empty_panels(
        sum(len(w) for w in weights), weights[0].shape[1], mode, bias=any(b is not None for b in biases)
    )
    start = 0
    for weight, bias in zip(weights, biases, strict=True):
        end = start + len(weight)
        write(made, weight.detach(), start, end)
        if bias is not None and made.bias is not None:
            made.bias[start:end] = bias.detach().float()
        start = end
    return made


def write(made: Panels, numbers: Tensor, start: int, end: int) -> None:
    """Writes numbers (end - start, in) into the channels from `start` to `end`."""
    step = made.numbers.shape[3]
    for first in range(start // PANEL, -(-end // PANEL), CHUNK):
        last = min(first + CHUNK, -(-end // PANEL))
        block = made.numbers[first:last].permute(0, 2, 1, 3)  # (panels, 32, steps, step), a view
        whole = block.clone(memory_format=torch.contiguous_format).view((last - first) * PANEL, -1)
        low, high = max(start, first * PANEL), min(end, last * PANEL)
        whole[low - first * PANEL : high - first * PANEL, : numbers.shape[1]] = numbers[low - start : high - start]
        block.copy_(whole.view(last - first, PANEL, -1, step))


# int8.


def filled(made: Panels, numbers: Tensor, scales: Tensor) -> None:
    """Writes int8 numbers (out, in) and their scales."""
    assert made.scales is not None
    assert made.corrections is not None
    write(made, numbers, 0, made.outputs)
    made.scales[: made.outputs] = scales
    made.corrections[: made.outputs] = 128.0 * numbers.sum(1, dtype=torch.int32)


def plain(made: Panels) -> tuple[Tensor, Tensor]:
    """int8 numbers (out, in) and scales (out,)."""
    assert made.scales is not None
    numbers = made.numbers.permute(0, 2, 1, 3).reshape(made.numbers.shape[0] * PANEL, -1)
    return numbers[: made.outputs, : made.inputs].contiguous(), made.scales[: made.outputs].clone()


def rows_of(made: Panels, ids: Tensor) -> Tensor:
    """Channels ids (...) as float32 (..., in): what an embedding looks up."""
    assert made.scales is not None
    found = made.numbers[ids // PANEL, :, ids % PANEL].flatten(-2)[..., : made.inputs]
    return found.float() * made.scales[ids][..., None]


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


def with_bias(panels: Panels, biases: list[Tensor | None], sizes: list[int]) -> Panels:
    """The same numbers with biases after the product."""
    bias = None
    if any(b is not None for b in biases):
        bias = aligned((len(panels.numbers) * PANEL,), torch.float32)
        start = 0
        for one, size in zip(biases, sizes, strict=True):
            if one is not None:
                bias[start : start + size] = one.detach().float()
            start += size
    return replace(panels, bias=bias)
