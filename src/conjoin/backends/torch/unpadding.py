"""Training without padding in PyTorch: the tokens that count, one after another, and back in their rows."""

from typing import Any

import torch
from conjoin.backends.torch.lean import lasts
from torch import Tensor
from torch.nn import Module

__all__ = ["Packing", "packing"]

WORTH = 0.9  # share of tokens above which padding costs less than leaving it out


class Packing:
    """Which tokens of (B, T) are kept."""

    def __init__(self, keep: Tensor) -> None:
        self.rows = tuple(keep.shape)
        self.places, self.others = (flags.flatten().nonzero()[:, 0] for flags in (keep, ~keep))
        self.lengths: list[int] = lasts(keep).tolist()

    def packed(self, x: Tensor) -> Tensor:
        """x (B, T, W) -> (1, N, W), the tokens that are kept."""
        found: Tensor = Packed.apply(x, self)  # type: ignore[no-untyped-call]
        return found

    def padded(self, x: Tensor) -> Tensor:
        """x (1, N, W) -> (B, T, W), zeros in the place of what was not kept."""
        found: Tensor = Padded.apply(x, self)  # type: ignore[no-untyped-call]
        return found


def packing(part: Module, seen: Tensor | None, read: Tensor | None) -> Packing | None:
    """How a part computes without what is hidden in `seen` (B, T), where states are read in `read` alone; None for all of it.

    Rows of which hidden tokens are read, or all are hidden, so that attention sees them all alike, are kept whole. Only
    in training, on a CPU: on a GPU it was not measured, and a traced graph knows no such lengths.
    """
    if not part.training or seen is None or read is None:
        return None
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return None
    if seen.device.type != "cpu":
        return None
    whole = (read & ~seen).any(1) | ~seen.any(1)
    keep = seen | whole[:, None]
    return None if int(keep.sum()) > WORTH * keep.numel() else Packing(keep)


class Packed(torch.autograd.Function):
    """`Packing.packed`, whose gradient is padded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by: Packing) -> Tensor:
        """(1, N, W)."""
        ctx.by = by
        return x.flatten(0, 1).index_select(0, by.places)[None]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The gradient of x."""
        return ctx.by.padded(grad), None


class Padded(torch.autograd.Function):
    """`Packing.padded`, whose gradient is packed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by: Packing) -> Tensor:
        """(B, T, W)."""
        ctx.by = by
        found = x.new_empty(by.rows[0] * by.rows[1], x.shape[-1])
        return found.index_copy_(0, by.places, x[0]).index_fill_(0, by.others, 0).view(*by.rows, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The gradient of x."""
        return ctx.by.packed(grad), None
