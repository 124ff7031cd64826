"""Log-probabilities and the largest of many numbers, by the engine's kernels where they run."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from conjoin.engine.machine import has_kernels

__all__ = ["argmax", "best", "best_of_sums", "log_softmax"]

WIDE = 8192  # numbers from which on the kernels are worth their call
MOST = 64  # of the largest


def suits(x: Tensor) -> bool:
    """Whether the kernels take it."""
    wide = x.dtype == torch.float32 and x.device.type == "cpu" and x.shape[-1] >= WIDE and x.numel() > 0
    return wide and not x.requires_grad and has_kernels() and type(x) is Tensor


def log_softmax(x: Tensor) -> Tensor:
    """(..., V) -> log-probabilities in float32."""
    if not suits(x):
        return x.log_softmax(-1)
    width = x.shape[-1]
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    run(row_program("LOG_SOFTMAX", width, 0), x.contiguous().view(-1, width), out.view(-1, width))
    return out


def best(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(..., V) -> the k largest, in order, and where they are (..., k)."""
    if k > MOST or not suits(x):
        found = torch.topk(x, k)
        return found.values, found.indices
    width = x.shape[-1]
    out = torch.empty(x.numel() // width, 2 * k)
    run(row_program("BEST", width, k), x.contiguous().view(-1, width), out)
    shape = (*x.shape[:-1], k)
    return out[:, :k].reshape(shape), out[:, k:].contiguous().view(torch.int32).long().view(shape)


def argmax(x: Tensor) -> Tensor:
    """(..., V) -> the place of the largest (...)."""
    return best(x, 1)[1][..., 0] if suits(x) else x.argmax(-1)


def best_of_sums(scores: Tensor, sums: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """scores (B, K, V) after sums (B, K): the k best (B, k), and where they stand in (B, K * V); each beam's own k first."""
    if k > MOST or not suits(scores):
        return best((scores + sums[..., None]).flatten(1), k)
    values, places = best(scores, k)
    found, chosen = torch.topk((values + sums[..., None]).flatten(1), k)
    return found, (chosen // k) * scores.shape[-1] + places.flatten(1).gather(1, chosen)


def run(program: Any, x: Tensor, out: Tensor) -> None:
    """Runs a program over rows."""
    from conjoin.engine.native import team

    closed, lock = program
    with lock:
        closed.run(x, out, len(x), 4 * 1024, team())


@lru_cache(maxsize=64)
def row_program(name: str, width: int, count: int) -> Any:
    """A program of one operation, and its lock."""
    import threading

    from conjoin.engine.kernels.layout import Code
    from conjoin.engine.program import Program

    program = Program(0)
    x = program.buffer(width)
    out = program.buffer(2 * count if count else width)
    program.add(Code[name], [x, out], [width, count] if count else [width])
    return program.close(out), threading.Lock()
