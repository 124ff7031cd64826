"""Leaf layers in PyTorch."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np

import torch
from conjoin.backends.torch.lean import LeanDropout
from conjoin.errors import ConfigError, nearest
from torch import Tensor
from torch.nn import Embedding, Linear, Module, ModuleList

__all__ = [
    "Constant",
    "Conv",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "Module",
    "ModuleList",
    "OutputEmbedding",
    "RMSNorm",
    "TimeNorm",
    "VocabularyProjection",
    "activation",
    "parameter",
    "recalled",
    "recomputed",
    "vector",
]

RECOMPUTING = ContextVar("RECOMPUTING", default=False)  # within `recomputed`, which keeps nothing
ACTIVATIONS: dict[str, Callable[[], Module]] = {
    "gelu": torch.nn.GELU,
    "gelu_new": lambda: torch.nn.GELU("tanh"),
    "gelu_pytorch_tanh": lambda: torch.nn.GELU("tanh"),
    "gelu_fast": lambda: torch.nn.GELU("tanh"),
    "relu": torch.nn.ReLU,
    "sigmoid": torch.nn.Sigmoid,
    "silu": torch.nn.SiLU,
    "swish": torch.nn.SiLU,
    "tanh": torch.nn.Tanh,
}


# Leaf layers.


def activation(name: str) -> Module:
    """The activation of a config's name. Raises ConfigError with the nearest known one."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f'activation "{name}" is not known{nearest(name, ACTIVATIONS)}; one of {", ".join(ACTIVATIONS)}.'
        )
    return ACTIVATIONS[name]()


def LayerNorm(width: int, eps: float, bias: bool = True) -> torch.nn.LayerNorm:  # noqa: N802
    """Over the last axis."""
    return torch.nn.LayerNorm(width, eps, bias=bias)


class Dropout(torch.nn.Dropout):
    """torch's, which on a CPU draws four times as fast and keeps a quarter of the memory where it trains."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the input's shape."""
        lean = self.training and 0 < self.p < 1 and input.requires_grad and input.device.type == "cpu"
        if not lean or torch.compiler.is_compiling():
            return super().forward(input)
        found: Tensor = LeanDropout.apply(input, self.p)  # type: ignore[no-untyped-call]
        return found


class RMSNorm(Module):
    """x over the root of its mean square, in float32, times weight + offset (https://arxiv.org/abs/1910.07467)."""

    def __init__(self, width: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.eps, self.offset = eps, offset
        self.weight = torch.nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> (..., W)."""
        weight = self.weight + self.offset if self.offset else self.weight
        if x.dtype == torch.float32 and weight.dtype == torch.float32:
            return torch.nn.functional.rms_norm(x, (x.shape[-1],), weight, self.eps)
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        if self.offset:  # in half precision the sum would have few of the weight's digits
            return (normed * (self.weight.float() + self.offset)).to(x.dtype)
        return weight * normed.to(x.dtype)


class Conv(Module):
    """A convolution along one or two axes, channels last: weight (outputs, inputs / groups, *kernel).

    Where `normed`, the weight is a direction, and `gain` its length at each place of the kernel
    (https://arxiv.org/abs/1602.07868).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        *,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        normed: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = torch.nn.Parameter(torch.empty(outputs, inputs // groups, *kernel))
        self.gain = torch.nn.Parameter(torch.empty(1, 1, *kernel)) if normed else None
        self.bias = torch.nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., inputs) -> (B, ..., outputs)."""
        weight = self.weight
        if self.gain is not None:
            weight = weight * (self.gain / weight.norm(dim=(0, 1), keepdim=True))
        run = torch.nn.functional.conv1d if weight.ndim == 3 else torch.nn.functional.conv2d
        x = x.movedim(-1, 1).to(weight.dtype)
        return run(x, weight, self.bias, self.stride, self.padding, 1, self.groups).movedim(1, -1)


class TimeNorm(Module):
    """Each channel of (B, T, C) normed over time (https://arxiv.org/abs/1803.08494, a group for each channel)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.empty(width))
        self.bias = torch.nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        width = len(self.weight)
        normed = torch.nn.functional.group_norm(x.movedim(-1, 1), width, self.weight, self.bias, self.eps)
        return normed.movedim(1, -1)


class OutputEmbedding(Module):
    """A vocabulary projection of its own, for a head that is not tied: weight (V, W)."""

    def __init__(self, width: int, vocab: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(vocab, width))


class VocabularyProjection(Module):
    """What an engine may put in the place of an output embedding."""

    def unembed(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., W) -> logits (..., V)."""
        raise NotImplementedError


class Constant:
    """A table that no one trains and no file holds."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values = self.copy = torch.from_numpy(values)

    def on(self, device: torch.device) -> Tensor:
        """The table on a device, where a copy stays until another is asked for; a tracer's copy is not kept."""
        if self.copy.device == device:
            return self.copy
        copy = self.values.to(device)
        if not torch.compiler.is_compiling():
            self.copy = copy
        return copy


def vector(size: int, trained: bool) -> Tensor:
    """A vector of zeros: a parameter, or a buffer that is not trained."""
    zeros_ = torch.zeros(size)
    return torch.nn.Parameter(zeros_) if trained else torch.nn.Buffer(zeros_)


def parameter(*shape: int) -> torch.nn.Parameter:
    """A parameter that a module keeps by itself; `values` reads it."""
    return torch.nn.Parameter(torch.zeros(shape))


def recalled(z: Tensor, activation: Module, y: Tensor) -> AbstractContextManager[object]:
    """While it lasts, what is kept of z = activation(y) for a backward pass is y, which the activation keeps anyway.

    On a CPU, where an activation costs little beside a product: a third less is kept of a feed-forward.
    """
    keeps_input = isinstance(activation, torch.nn.GELU | torch.nn.SiLU)
    if not keeps_input or not z.requires_grad or z.device.type != "cpu":
        return nullcontext()
    if torch.compiler.is_compiling() or RECOMPUTING.get():  # a compiler cannot follow the second
        return nullcontext()
    place, given = z.data_ptr(), y.detach()

    def pack(x: Tensor) -> Tensor | torch.Size:
        return x.shape if x.data_ptr() == place and x.dtype == given.dtype and x.numel() == given.numel() else x

    def unpack(kept: Tensor | torch.Size) -> Tensor:
        return kept if isinstance(kept, Tensor) else activation(given).view(kept)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def recomputed(block: Module, *inputs: Any) -> Tensor:
    """A block's output, its activations computed again in the backward pass (https://arxiv.org/abs/1604.06174)."""
    from torch.utils.checkpoint import checkpoint

    def run(*given: Any) -> Tensor:
        before = RECOMPUTING.set(True)
        try:
            found: Tensor = block(*given)[0]
            return found
        finally:
            RECOMPUTING.reset(before)

    out: Tensor = checkpoint(run, *inputs, use_reentrant=False)
    return out
