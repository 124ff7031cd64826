"""Cross-entropy over a vocabulary, some rows at a time, so that the logits of all rows are never there at once.

The gradients are computed with the loss, chunk by chunk, as Liger's fused kernel does (https://arxiv.org/abs/2410.10989):
rows of logits become their own gradient in place, and leave only what they add to the gradients of states and table.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["ChunkedCrossEntropy"]

LOGITS = {"cpu": 2**22}  # how many at once; more gain nothing on a CPU
MANY_LOGITS = 2**27


def rows_at_once(weight: Tensor) -> int:
    """Rows in a chunk."""
    return max(16, LOGITS.get(weight.device.type, MANY_LOGITS) // len(weight))


class ChunkedCrossEntropy(torch.autograd.Function):
    """The sum of the losses of states x (N, W) by a table (V, W) and a bias (V,) for labels (N,).

    Products are in the type that autocast asks for, sums in float32 or wider. `cap` squeezes logits by tanh, `smoothing` is
    how much of each label is spread over the vocabulary.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, cap: float, smoothing: float
    ) -> Tensor:
        """Also leaves the gradients of the sum, of what needs one."""
        kind, wide = product_type(x), torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            rows, table = x.detach().to(kind), weight.detach().to(kind)
            shift = None if bias is None else bias.detach().to(wide)
            total = torch.zeros((), dtype=wide, device=x.device)
            needs = ctx.needs_input_grad
            dx = torch.empty_like(x) if needs[0] else None
            dw = torch.zeros_like(weight) if needs[1] else None
            db = torch.zeros_like(bias) if bias is not None and needs[2] else None
            size = rows_at_once(weight)
            for at in range(0, len(x), size):
                here = slice(at, at + size)
                logits = torch.matmul(rows[here], table.t()).to(wide)
                logits = logits if shift is None else logits.add_(shift)
                logits = logits if not cap else logits.div_(cap).tanh_().mul_(cap)
                total += losses(logits, labels[here], smoothing)
                if dx is None and dw is None and db is None:
                    continue
                slope = 1 - (logits / cap) ** 2 if cap else None
                to_gradient(logits, labels[here], smoothing)
                logits = logits if slope is None else logits.mul_(slope)
                if db is not None:
                    db += logits.sum(0)
                logits = logits.to(kind)
                if dx is not None:
                    dx[here] = torch.matmul(logits, table)
                if dw is not None:
                    add_product(dw, logits.t(), rows[here])
        ctx.save_for_backward(dx, dw, db)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that the forward pass left, times that of the sum: in place, since each is used once."""
        scaled = (None if one is None else one.mul_(grad.to(one.dtype)) for one in ctx.saved_tensors)
        return (*scaled, None, None, None)


def product_type(x: Tensor) -> torch.dtype:
    """The type that products are computed in."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def losses(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The sum of the losses of some rows (n, V)."""
    sums = torch.logsumexp(logits, 1)
    own = logits.gather(1, labels[:, None])[:, 0]
    if not smoothing:
        return (sums - own).sum()
    return (sums - (1 - smoothing) * own - smoothing * logits.mean(1)).sum()


def to_gradient(logits: Tensor, labels: Tensor, smoothing: float) -> None:
    """Makes some rows (n, V), in place, the gradient of the sum of their losses."""
    torch.softmax(logits, 1, out=logits)
    if smoothing:
        logits -= smoothing / logits.shape[1]
    logits[torch.arange(len(labels), device=labels.device), labels] -= 1 - smoothing


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += torch.matmul(a, b)
