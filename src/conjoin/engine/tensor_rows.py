"""Log-probabilities and the largest of PyTorch's tensors: by the engine's kernels where they are worth it, else by torch."""

import torch
from torch import Tensor

from conjoin.engine import rows
from conjoin.engine.threads import kernel_threads

__all__ = ["argmax", "best", "best_of_each", "best_of_logits", "best_of_sums", "log_softmax", "suits"]


def suits(x: Tensor, k: int = 1) -> bool:
    """Whether the kernels take it."""
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and not x.requires_grad and type(x) is Tensor
    return plain and rows.suits(x.shape[-1], x.numel(), k)


def log_softmax(x: Tensor) -> Tensor:
    """(..., V) -> log-probabilities in float32."""
    return torch.from_numpy(rows.log_softmax(x.numpy(), kernel_threads())) if suits(x) else x.log_softmax(-1)


def best(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(..., V) -> the k largest, in order, and where they are (..., k)."""
    if suits(x, k):
        values, places = rows.best(x.numpy(), k, kernel_threads())
        return torch.from_numpy(values), torch.from_numpy(places)
    found = torch.topk(x, k)
    return found.values, found.indices


def argmax(x: Tensor) -> Tensor:
    """(..., V) -> the place of the largest (...)."""
    return best(x, 1)[1][..., 0] if suits(x) else x.argmax(-1)


def best_of_sums(scores: Tensor, sums: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """scores (B, K, V) after sums (B, K): the k best (B, k), and where they stand in (B, K * V); each beam's own k first."""
    if not suits(scores, k):
        return best((scores + sums[..., None]).flatten(1), k)
    return best_of_each(*best(scores, k), sums, scores.shape[-1])


def best_of_logits(logits: Tensor, forbidden: Tensor, sums: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `best_of_sums`, of the log-probabilities of logits (B, K, V), without forbidden tokens (B, K, N), -1 for none."""
    values, places = rows.best_of_logits(logits.numpy(), forbidden.numpy(), k, kernel_threads())
    return best_of_each(torch.tensor(values), torch.tensor(places), sums, logits.shape[-1])


def best_of_each(values: Tensor, places: Tensor, sums: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The best (B, k) of each beam's own k (B, K, k), after sums (B, K), and where they stand in (B, K * V)."""
    k = values.shape[-1]
    found, chosen = torch.topk((values + sums[..., None]).flatten(1), k)
    return found, (chosen // k) * width + places.flatten(1).gather(1, chosen)
