"""A model's parameters by name in PyTorch: to list, to read, to place, to share and to freeze; and dtypes and devices."""

from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from conjoin.checkpoint import NARROW, narrow_type
from conjoin.engine import narrow as whole
from conjoin.errors import InputError, no_dtype
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = [
    "FILES",
    "NARROW_TYPES",
    "Placement",
    "as_dtype",
    "best_device",
    "blank",
    "calibrate",
    "constant",
    "copied",
    "detached",
    "dtype_name",
    "evaluating",
    "found_device",
    "joined_rows",
    "load_narrow",
    "materialise",
    "named_arrays",
    "narrow_tensors",
    "normal",
    "parameter_count",
    "place",
    "placement",
    "read",
    "resize",
    "rewrite",
    "save_file",
    "set_trained",
    "shapes",
    "share",
    "trainable_names",
    "unified",
    "without_storage",
    "zero_rows",
]

FILES = "pt"
NARROW_TYPES = tuple(NARROW)
DRAWS = frozenset({torch.nn.init.normal_, torch.nn.init.uniform_, torch.nn.init.kaiming_uniform_})


class Placement(NamedTuple):
    """The type that parameters get, None for their file's, and where they go."""

    dtype: torch.dtype | None
    device: torch.device
    narrow: str | None = None  # a type of whole numbers for weights (engine/narrow.py), everything else float32


def placement(dtype: str | torch.dtype | None = None, device: Any = None) -> Placement:
    """From the names of a type and of a device. Raises InputError for what is no float type, or not here."""
    kind = "int8" if dtype is torch.int8 else dtype
    if isinstance(kind, str) and kind in NARROW:
        found = found_device("cpu" if device is None else device)
        if found.type == "cuda":
            raise InputError(f'dtype is "{kind}" and device a GPU; {kind} is for CPUs, "bfloat16" for GPUs.')
        return Placement(torch.float32, found, narrow=kind)
    return Placement(as_dtype(dtype), found_device("cpu" if device is None else device))


def found_device(device: Any) -> torch.device:
    """A device from its name or number. Raises InputError for one that this machine does not have."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f'device is "{device}"; "cpu", "cuda", "cuda:1" or a number was expected.') from None
    if found.type in ("cpu", "meta"):
        return found
    there = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if there is not None else 0
    if there is None or found.type != there.type or (found.index or 0) >= count:
        raise InputError(f'device is "{device}", and this machine has no such one; "cpu" always works.')
    return found


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A torch type from its name; "auto" and None are the file's own."""
    if dtype is None or dtype == "auto":
        return None
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise no_dtype(dtype, NARROW_TYPES)
    return found


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


def blank(make: Callable[[], Any], where: Placement) -> Any:
    """A model with shapes and no storage."""
    with torch.device("meta"), Uninitialised():
        model = make()
    if where.narrow is not None:
        from conjoin.torch.native import BaseDecoder, BaseEncoder

        for stack in [module for module in model.modules() if isinstance(module, BaseEncoder | BaseDecoder)]:
            whole.narrow(stack, where.narrow)
    return model


def leaf(model: torch.nn.Module, name: str) -> tuple[torch.nn.Module, str]:
    """The module of a named tensor, and what it is called there."""
    *path, last = name.split(".")
    return model.get_submodule(".".join(path)), last


def read(model: torch.nn.Module, name: str) -> Tensor:
    """A parameter or buffer."""
    module, last = leaf(model, name)
    found: Tensor = getattr(module, last)
    return found


def named_arrays(model: torch.nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers that are saved, under each of their names."""
    return {name: tensor.detach() for name, tensor in torch.nn.Module.state_dict(model).items()}


def shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each."""
    return {name: tuple(tensor.shape) for name, tensor in named_arrays(model).items()}


def place(model: torch.nn.Module, name: str, array: Tensor, where: Placement) -> None:
    """Puts values where a parameter or buffer is; in memory of their own."""
    module, last = leaf(model, name)
    if last == "weight" and isinstance(module, whole.Narrow):
        module.take(array)
        return
    kind = array.dtype if where.dtype is None else where.dtype
    tensor = array.detach().to(device=where.device, dtype=kind, copy=True, memory_format=torch.contiguous_format)
    if last in module._parameters:
        module._parameters[last] = torch.nn.Parameter(
            tensor, requires_grad=tensor.is_floating_point() and where.narrow is None
        )
    else:
        module._buffers[last] = tensor


def materialise(model: torch.nn.Module, names: Iterable[str], where: Placement) -> None:
    """Gives zeros to those of the named tensors that have no storage yet."""
    empty = [name for name in names if read(model, name).is_meta]
    there = (p.dtype for p in model.parameters() if not p.is_meta)
    kind = where.dtype or next(there, torch.float32)
    for name in empty:
        place(model, name, torch.zeros(read(model, name).shape), Placement(kind, where.device))


@torch.no_grad()
def rewrite(model: torch.nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> None:
    """Replaces a tensor's values by a function of them, in place."""
    tensor = read(model, name)
    tensor.copy_(change(tensor))


def resize(model: torch.nn.Module, name: str, array: Tensor) -> None:
    """Puts values of another number of rows where a tensor is; its type, its place and whether it is trained stay."""
    old = read(model, name)
    if isinstance(leaf(model, name)[0], whole.Narrow):
        kind = dtype_name(model)
        raise InputError(
            f'an {kind} model\'s vocabulary cannot be resized; resize the float model, and load it with dtype="{kind}".'
        )
    place(model, name, array, Placement(old.dtype, old.device))
    module, last = leaf(model, name)
    getattr(module, last).requires_grad_(old.requires_grad)
    if isinstance(module, torch.nn.Embedding):
        module.num_embeddings = len(array)


def share(model: torch.nn.Module, partner: torch.nn.Module, names: Iterable[str]) -> None:
    """Makes the named parameters of a model those of its partner."""
    for name in names:
        module, last = leaf(model, name)
        theirs = leaf(partner, name)[0]
        if last in module._parameters:
            module._parameters[last] = theirs._parameters[last]
        else:  # a weight in whole numbers
            *path, called = name.split(".")[:-1]
            setattr(model.get_submodule(".".join(path)), called, theirs)


def dtype_name(model: torch.nn.Module) -> str:
    """The type of the parameters, or that of whole numbers where weights are."""
    return whole.type_of(model) or str(next(model.parameters()).dtype).removeprefix("torch.")


def unified(model: torch.nn.Module) -> None:
    """Makes all parameters float32, where two parts came in different types."""
    model.float()


def evaluating(model: torch.nn.Module) -> None:
    """Dropout off."""
    model.eval()


def parameter_count(model: torch.nn.Module, only_trainable: bool) -> int:
    """How many numbers there are, each shared tensor counted once."""
    modules = {id(module): module for _, module in whole.narrow_modules(model)}.values()
    narrow = 0 if only_trainable else sum(prod(module.shape) for module in modules)
    return narrow + sum(p.numel() for p in model.parameters() if p.requires_grad or not only_trainable)


def trainable_names(model: torch.nn.Module) -> list[str]:
    """The parameters that can be trained, frozen ones included."""
    return [name for name, _ in model.named_parameters()]


def set_trained(model: torch.nn.Module, names: Iterable[str], on: bool) -> None:
    """Takes parameters out of training, or in again."""
    for name in names:
        read(model, name).requires_grad_(on)


def normal(like: Tensor, std: float) -> Tensor:
    """Fresh values from a normal, in like's shape, type and place."""
    return torch.empty_like(like).normal_(0.0, std)


def constant(like: Tensor, value: float) -> Tensor:
    """One value everywhere, in like's shape and type."""
    return torch.full_like(like, value)


def zero_rows(like: Tensor, count: int) -> Tensor:
    """So many rows of zeros, as like's."""
    return like.new_zeros(count, *like.shape[1:])


def without_storage() -> bool:
    """Whether the user asked for models on the meta device."""
    return torch.get_default_device().type == "meta"


def detached(x: Tensor) -> Tensor:
    """Values alone, without a gradient."""
    return x.detach()


def copied(x: Tensor) -> Tensor:
    """A copy of its own."""
    return x.clone()


def joined_rows(parts: list[Tensor]) -> Tensor:
    """Arrays one after another."""
    return torch.cat(parts, 0)


def best_device() -> str:
    """The GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def narrow_tensors(model: torch.nn.Module, gone: Iterable[str]) -> dict[str, Tensor] | None:
    """What the folder of a model in whole numbers holds, without what is gone; None where the model is of another type."""
    return None if whole.type_of(model) is None else whole.narrow_tensors(model, set(gone))


def load_narrow(model: torch.nn.Module, path: Any, gone: Iterable[str], where: Placement) -> None:
    """Fills a blank model in whole numbers from the file of one, in the device's memory."""
    whole.load_narrow(model, path, set(gone), lambda name, array: place(model, name, array, where))


def calibrate(model: torch.nn.Module, folder: Path, exact: Callable[[], Any]) -> None:
    """Rounds the layers of an int4 model that reads tokens, and came from a float one's folder, for what comes into them.

    That is found with the float32 model that `exact` loads. Every other model stays as it is.
    """
    if dtype_name(model) != "int4_weight_only" or narrow_type(folder) is not None:
        return
    from conjoin.engine import calibrating
    from conjoin.torch.native import BaseEncoder

    encoder: Any = model.encoder
    if isinstance(encoder, BaseEncoder) and encoder.spec.front is None:
        calibrating.calibrate(model, exact())


def save_file(tensors: dict[str, Tensor], path: Any, metadata: dict[str, str]) -> None:
    """Writes a safetensors file."""
    from safetensors.torch import save_file as save

    save({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
