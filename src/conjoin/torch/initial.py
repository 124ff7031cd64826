"""The first values of parameters that no checkpoint has, and the storage of a model built without any."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from conjoin.spec import StackSpec

__all__ = ["copy_self_attention", "initialise", "materialise", "on_meta"]

DRAWS = frozenset({torch.nn.init.normal_, torch.nn.init.uniform_, torch.nn.init.kaiming_uniform_})
RESIDUAL = ("attention.o.weight", "cross.o.weight", "ffn.down.weight")


class Uninitialised(TorchFunctionMode):
    """Layers made under it draw no first values.

    On the meta device that costs nothing but an import: drawing from a normal there loads torch._dynamo, which takes a
    second and 80 MB.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: dict[str, Any] = kwargs or {}
        if func in DRAWS:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def on_meta(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A model with shapes and no storage."""
    with torch.device("meta"), Uninitialised():
        return make()


def materialise(model: torch.nn.Module, names: Iterable[str], dtype: torch.dtype, device: torch.device) -> None:
    """Gives storage to the named parameters and buffers of a model on the meta device."""
    for name in names:
        place(model, name, torch.zeros(tensor_of(model, name).shape, dtype=dtype, device=device))


def tensor_of(model: torch.nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its dotted name."""
    *path, leaf = name.split(".")
    found: Tensor = getattr(model.get_submodule(".".join(path)), leaf)
    return found


def place(model: torch.nn.Module, name: str, tensor: Tensor) -> None:
    """Puts a tensor where a parameter or buffer of this name is."""
    *path, leaf = name.split(".")
    module = model.get_submodule(".".join(path))
    if leaf in module._parameters:
        module._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
    else:
        module._buffers[leaf] = tensor


@torch.no_grad()
def initialise(model: torch.nn.Module, names: Iterable[str], spec: StackSpec) -> None:
    """Fresh values: weights from a normal of the config's initializer_range, norms 1, biases and gates 0.

    Where the family asks for it (GPT-2), what writes into the residual starts smaller by sqrt(2 layers), as in section
    2.3 of its paper.
    """
    for name in names:
        tensor = tensor_of(model, name)
        if name.endswith(("bias", "gate")):
            tensor.zero_()
        elif name.rsplit(".", 2)[-2].endswith("norm"):
            tensor.fill_(1.0)
        else:
            scaled = spec.scaled_residual_init and name.endswith(RESIDUAL)
            tensor.normal_(0.0, spec.initializer_range / (math.sqrt(2 * spec.layers) if scaled else 1.0))


@torch.no_grad()
def copy_self_attention(decoder: torch.nn.Module, names: Iterable[str]) -> None:
    """Starts new cross-attention as a copy of its layer's self-attention, norm included (T5Gemma, 2504.06225)."""
    for name in names:
        if ".cross" in name:
            tensor_of(decoder, name).copy_(tensor_of(decoder, name.replace(".cross", ".attention")))
