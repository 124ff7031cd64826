"""Ids, labels and the loss in PyTorch."""

from typing import Any

import torch
import torch.nn.functional as F
from conjoin.backends.torch.chunked import ChunkedCrossEntropy
from conjoin.backends.torch.layers import VocabularyProjection
from conjoin.backends.torch.maths import capped
from conjoin.errors import InputError
from conjoin.inputs import TOKENS, check_between, foreign
from torch import Tensor
from torch.nn import Module

__all__ = [
    "check_range",
    "cross_entropy",
    "first_seen",
    "given",
    "is_traced",
    "selected",
    "shift_right",
    "size",
    "vocabulary_loss",
]


def is_traced(x: Any) -> bool:
    """Whether an array has no values yet; never asked of torch's, whose programs are not padded."""
    return False


def size(x: Tensor, axis: int) -> int:
    """The length of an axis."""
    return x.shape[axis]


def given(**arrays: Any) -> list[Any]:
    """What a call was given. Raises InputError for another framework's arrays."""
    for name, x in arrays.items():
        if x is not None and not isinstance(x, Tensor):
            raise InputError(foreign(name, x, "a PyTorch tensor"))
    return list(arrays.values())


def check_range(ids: Tensor, count: int, what: str, sentence: str = TOKENS) -> None:
    """Raises InputError for an id that is not one of 0 to count - 1; not checked where reading the ids would stall a device."""
    if torch.compiler.is_compiling() or ids.device.type != "cpu" or ids.numel() == 0:
        return
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{what}: token ids are {ids.dtype}; whole numbers, torch.int64, were expected.")
    low, high = (int(x) for x in ids.aminmax())
    check_between(low, high, count, what, sentence)


def shift_right(labels: Tensor, start: int, pad: int, ignored: int) -> Tensor:
    """(B, T) -> the start token, then the labels but for the last; `pad` for `ignored`."""
    shifted = F.pad(labels[:, :-1], (1, 0), value=start)
    return shifted.masked_fill(shifted == ignored, pad)


def first_seen(mask: Tensor) -> Tensor:
    """The mask, with the first column True."""
    return F.pad(mask[:, 1:], (1, 0), value=True)


def selected(x: Tensor, labels: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of x (B, T, W) and labels (B, T) to keep: (N, W) and (N,)."""
    return x[keep], labels[keep]


def cross_entropy(logits: Tensor, labels: Tensor, ignored: int, count: Any, smoothing: float = 0.0) -> Tensor:
    """Mean over the labels that are not ignored, or their sum over `count`. In float32 or wider.

    With `smoothing`, so much of each label is spread evenly over the vocabulary (https://arxiv.org/abs/1512.00567).
    """
    flat = logits.reshape(-1, logits.shape[-1])
    flat = flat if flat.dtype == torch.float64 else flat.float()
    aim = labels.reshape(-1).to(flat.device, torch.long)
    if count is None:
        count = (aim != ignored).sum().clamp(min=1)
    total = F.cross_entropy(flat, aim, ignore_index=ignored, reduction="sum", label_smoothing=smoothing)
    loss: Tensor = total / count
    return loss


def vocabulary_loss(
    table: Module,
    x: Tensor,
    bias: Tensor | None,
    cap: float,
    labels: Tensor,
    ignored: int,
    count: Any,
    smoothing: float,
) -> Tensor:
    """`cross_entropy` of the logits of x (N, W) by a vocabulary's table and bias, squeezed by `cap`, for labels (N,).

    All of the labels count. Only some rows of logits are there at a time.
    """
    if isinstance(table, VocabularyProjection):
        logits = table.unembed(x, bias)
        return cross_entropy(capped(logits, cap) if cap else logits, labels, ignored, count, smoothing)
    given = x, table.weight, bias, labels.to(x.device, torch.long), cap, smoothing
    total: Tensor = ChunkedCrossEntropy.apply(*given)  # type: ignore[no-untyped-call]
    return total / (max(1, len(labels)) if count is None else count)
