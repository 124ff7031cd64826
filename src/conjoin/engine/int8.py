"""Models in int8: linear layers and token embeddings keep bytes, a scale for each channel, and nothing in float32.

Weights are quantised when they are placed, one tensor at a time, so that a model never lies in memory whole in float32. A
product quantises each row of its input by that row's largest number (as Zafrir et al., https://arxiv.org/abs/1910.06188, but
without calibration), sums in int32 and goes on in float32. Everything else (norms, biases, positions, softmax) is float32.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import Embedding, Linear, Module

from conjoin.backends.torch.layers import OutputEmbedding
from conjoin.engine.arrays import Array
from conjoin.engine.machine import has_kernels
from conjoin.engine.tensors import bits
from conjoin.engine.threads import kernel_threads
from conjoin.engine.weights import Panels, cut, empty_panels, filled, plain, quantised, rows_of
from conjoin.errors import CheckpointError

__all__ = ["Int8", "has_int8", "int8_modules", "load_int8", "narrow", "narrow_tensors"]

SCALES = "_scales"  # after the name of the weight that they are of


class Int8(Module):
    """A weight (out, in) in int8. `weight` is what it stands for, in float32, made when it is asked for."""

    def __init__(self, panels: Panels) -> None:
        super().__init__()
        self.panels = panels
        self.is_filled = False

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.panels.outputs, self.panels.inputs

    @property
    def weight(self) -> Tensor:
        """(out, in), float32; on the meta device until there are values."""
        if not self.is_filled:
            return torch.empty(self.shape, device="meta")
        numbers, scales = as_tensors(plain(self.panels))
        return numbers * scales[:, None]

    def take(self, weight: Tensor) -> None:
        """Quantises a weight (out, in)."""
        self.keep(*quantised(bits(weight)))

    def take_stored(self, numbers: Tensor, scales: Tensor) -> None:
        """int8 numbers (out, in) and scales (out,)."""
        self.keep(numbers.numpy(), scales.numpy())

    def keep(self, numbers: Array, scales: Array) -> None:
        """The same as arrays."""
        filled(self.panels, numbers, scales)
        self.is_filled = True

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)  # type: ignore[no-untyped-call]
        destination[f"{prefix}weight"] = torch.empty(
            self.shape, device="meta"
        )  # its name and shape; see `narrow_tensors`


class Int8Linear(Int8):
    """A linear layer."""

    def __init__(self, layer: Linear, panels: Panels) -> None:
        super().__init__(panels)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self.lock = threading.Lock()
        self.ready: Any = None  # a program, or what torch packs

    def __deepcopy__(self, memo: Any) -> "Int8Linear":
        raise TypeError("an int8 model cannot be copied; load it again.")

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        rows = x.reshape(-1, x.shape[-1]).float().contiguous()
        with self.lock:
            out = self.by_kernels(rows) if has_kernels() else self.by_torch(rows)
        return (out if self.bias is None else out + self.bias).view(*x.shape[:-1], -1)

    def by_kernels(self, rows: Tensor) -> Tensor:
        """The product on the engine's kernels."""
        from conjoin.engine.kernels.team import team_of
        from conjoin.engine.native import one_product

        if self.ready is None:
            self.ready = one_product(self.panels)
        out = torch.empty(len(rows), self.out_features)
        self.ready.run(bits(rows), out.numpy(), len(rows), 0, team_of(kernel_threads()))
        return out

    def by_torch(self, rows: Tensor) -> Tensor:
        """The same product on other machines: torch's own of int8 matrices."""
        if self.ready is None:
            self.ready = as_tensors(plain(self.panels))
        numbers, scales = self.ready
        most = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        narrowed = (rows * (127 / most)).round().to(torch.int8)
        out: Tensor = torch._int_mm(narrowed, numbers.t()).float() * (most / 127) * scales
        return out


class Int8Embedding(Int8):
    """A token embedding, and, where it is tied, the output embedding."""

    def __init__(self, table: Embedding, panels: Panels) -> None:
        super().__init__(panels)
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim

    def forward(self, ids: Tensor) -> Tensor:
        """ids (...) -> (..., W)."""
        return torch.from_numpy(rows_of(self.panels, ids.numpy()))


class Int8Output(Int8):
    """An output embedding of its own."""


def as_tensors(arrays: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """Arrays as tensors that lie where they do."""
    return tuple(torch.from_numpy(x) for x in arrays)


def narrow(stack: Module) -> None:
    """Puts int8 layers in the place of a blank stack's linear layers and token embeddings."""
    for parameter in stack.parameters():
        parameter.requires_grad_(False)
    for module in list(stack.modules()):
        joint = queries_keys_values(module)
        for name, part in list(module.named_children()):
            if isinstance(part, Linear):
                panels = joint[name] if name in joint else empty_panels(part.out_features, part.in_features)
                setattr(module, name, Int8Linear(part, panels))
            elif isinstance(part, Embedding) and name == "token":
                setattr(module, name, Int8Embedding(part, empty_panels(part.num_embeddings, part.embedding_dim)))
            elif isinstance(part, OutputEmbedding):
                setattr(module, name, Int8Output(empty_panels(*part.weight.shape)))


def queries_keys_values(module: Module) -> dict[str, Panels]:
    """Panels for an attention's three products that lie one after another, so that an engine makes them as one."""
    parts = {name: getattr(module, name, None) for name in ("q", "k", "v")}
    if not all(isinstance(part, Linear) for part in parts.values()):
        return {}
    widths = {part.in_features for part in parts.values()}  # type: ignore[union-attr]
    sizes = [part.out_features for part in parts.values()]  # type: ignore[union-attr]
    if len(widths) > 1:  # cross-attention between unlike widths
        return {}
    return dict(zip(parts, cut(empty_panels(sum(sizes), widths.pop()), sizes), strict=False))


def int8_modules(model: Module) -> Iterator[tuple[str, Int8]]:
    """The int8 weights of a model, by each of their names."""
    modules = model.named_modules(remove_duplicate=False)
    yield from ((name, module) for name, module in modules if isinstance(module, Int8))


def has_int8(model: Module) -> bool:
    """Whether a model is in int8."""
    return any(True for _ in int8_modules(model))


def narrow_tensors(model: Module, gone: Collection[str]) -> dict[str, Tensor]:
    """What an int8 folder holds: every tensor under our names, weights as they are kept, without those that are gone."""
    modules = dict(int8_modules(model))
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        module = modules.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if name in gone:
            continue
        if module is None:
            tensors[name] = tensor
        else:
            tensors[name], tensors[name + SCALES] = as_tensors(plain(module.panels))
    return tensors


def load_int8(model: Any, path: Path, gone: Collection[str], place: Callable[[str, Tensor], None]) -> None:
    """Fills a blank int8 model from its file; `place` puts what is no int8 weight. Raises CheckpointError."""
    try:
        opened = safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'"{path}" cannot be read ({error}); save the model again.') from None
    with opened as file:
        there = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        modules = dict(int8_modules(model))
        for name, shape in model.ops.shapes(model).items():
            module = modules.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
            if name in gone:
                continue
            names = {name: shape} if module is None else {name: shape, name + SCALES: shape[:1]}
            for one, expected in names.items():
                if there.get(one) != expected:
                    found = f"is {list(there[one])}" if one in there else "is missing"
                    raise CheckpointError(f'"{path}": "{one}" {found}; {list(expected)} was expected.')
            values = [file.get_tensor(one) for one in names]
            if module is None:
                place(name, values[0])
            else:
                module.take_stored(*values)
