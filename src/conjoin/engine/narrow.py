"""Models in int8 or int4: linear layers and token embeddings keep whole numbers, their scales, and nothing in float32.

Weights are quantised when they are placed, one tensor at a time, so that a model never lies in memory whole in float32 (but see
calibrating.py for int4). In "int8" a product quantises each row of its input by that row's largest number (as Zafrir et al.,
https://arxiv.org/abs/1910.06188, but without calibration), sums in int32 and goes on in float32. In "int8_weight_only" and
"int4_weight_only" rows stay float32, and weights are widened as they are multiplied. Everything else (norms, biases, positions,
softmax) is float32.
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
from conjoin.checkpoint import SCALES
from conjoin.engine.arrays import Array
from conjoin.engine.kernels.layout import Mode
from conjoin.engine.machine import has_kernels
from conjoin.engine.quantised import plain_shapes, quantised, widened
from conjoin.engine.tensors import bits
from conjoin.engine.threads import kernel_threads
from conjoin.engine.weights import Panels, cut, empty_panels, filled, plain, rows_of
from conjoin.errors import CheckpointError, ConfigError

__all__ = [
    "TYPES",
    "Narrow",
    "load_narrow",
    "mode_of",
    "narrow",
    "narrow_modules",
    "narrow_tensors",
    "require_float",
    "type_of",
]

TYPES = {"int8": Mode.INT8, "int8_weight_only": Mode.INT8_WEIGHTS, "int4_weight_only": Mode.INT4_WEIGHTS}
SENSITIVE = {"int4_weight_only": "int8_weight_only"}  # what is kept instead where int4 costs the most (`sensitive`)


class Narrow(Module):
    """A weight (out, in) in whole numbers. `weight` is what it stands for, in float32, made when it is asked for."""

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
        return torch.from_numpy(widened(*plain(self.panels), self.panels.mode, self.panels.inputs))

    def take(self, weight: Tensor) -> None:
        """Quantises a weight (out, in)."""
        self.keep(*quantised(bits(weight), self.panels.mode))

    def take_stored(self, numbers: Tensor, scales: Tensor) -> None:
        """Numbers and scales of quantised.py."""
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


class NarrowLinear(Narrow):
    """A linear layer."""

    def __init__(self, layer: Linear, panels: Panels) -> None:
        super().__init__(panels)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.bias = layer.bias
        self.lock = threading.Lock()
        self.ready: Any = None  # a program, or what torch packs

    def extra_repr(self) -> str:
        """For who prints it, or is told that it cannot be adapted."""
        kind = next(name for name, mode in TYPES.items() if mode is self.panels.mode)
        return f"in_features={self.in_features}, out_features={self.out_features}, dtype={kind}"

    def __deepcopy__(self, memo: Any) -> "NarrowLinear":
        raise TypeError("a model in whole numbers (int8, int4) cannot be copied; load it again.")

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        rows = x.reshape(-1, self.in_features).float().contiguous()
        if not len(rows):
            return rows.new_empty(*x.shape[:-1], self.out_features)
        with self.lock:
            out = self.by_kernels(rows) if has_kernels() and self.panels.is_whole else self.by_torch(rows)
        return (out if self.bias is None else out + self.bias).view(*x.shape[:-1], self.out_features)

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
        """The same product on other machines: torch's own of int8 matrices, or of what the weight stands for."""
        if self.ready is None:
            self.ready = as_tensors(plain(self.panels))
        numbers, scales = self.ready
        if self.panels.mode is not Mode.INT8:
            weight = widened(numbers.numpy(), scales.numpy(), self.panels.mode, self.in_features)
            return rows @ torch.from_numpy(weight).t()
        most = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        narrowed = (rows * (127 / most)).round().to(torch.int8)
        out: Tensor = torch._int_mm(narrowed, numbers.t()).float() * (most / 127) * scales
        return out


class NarrowEmbedding(Narrow):
    """A token embedding, and, where it is tied, the output embedding."""

    def __init__(self, table: Embedding, panels: Panels) -> None:
        super().__init__(panels)
        self.num_embeddings, self.embedding_dim = table.num_embeddings, table.embedding_dim

    def forward(self, ids: Tensor) -> Tensor:
        """ids (...) -> (..., W)."""
        return torch.from_numpy(rows_of(self.panels, ids.numpy()))


class NarrowOutput(Narrow):
    """An output embedding of its own."""


def as_tensors(arrays: tuple[Array, ...]) -> tuple[Tensor, ...]:
    """Arrays as tensors that lie where they do."""
    return tuple(torch.from_numpy(x) for x in arrays)


def narrow(stack: Module, kind: str) -> None:
    """Puts layers of one of TYPES in the place of a blank stack's linear layers and token embeddings."""
    mode, fine = TYPES[kind], TYPES[SENSITIVE.get(kind, kind)]
    for parameter in stack.parameters():
        parameter.requires_grad_(False)
    spared = sensitive(stack)
    for module in list(stack.modules()):
        joint = queries_keys_values(module, mode)
        for name, part in list(module.named_children()):
            if isinstance(part, Linear):
                own = fine if part in spared else mode
                panels = joint[name] if name in joint else empty_panels(part.out_features, part.in_features, own)
                setattr(module, name, NarrowLinear(part, panels))
            elif isinstance(part, Embedding) and name == "token":
                panels = empty_panels(part.num_embeddings, part.embedding_dim, fine)
                setattr(module, name, NarrowEmbedding(part, panels))
            elif isinstance(part, OutputEmbedding):
                rows, width = part.weight.shape
                setattr(module, name, NarrowOutput(empty_panels(rows, width, fine)))


def sensitive(stack: Any) -> set[Module]:
    """Linear layers to which few bits do most harm: all outside of the blocks, and the first of an encoder's feed-forwards."""
    blocks = dict(stack.layers.named_modules())
    first = {module for name, module in blocks.items() if name.endswith(".up") and not stack.spec.causal}
    return {module for module in stack.modules() if module not in blocks.values()} | first


def queries_keys_values(module: Module, mode: Mode) -> dict[str, Panels]:
    """Panels for an attention's three products that lie one after another, so that an engine makes them as one."""
    parts = {name: getattr(module, name, None) for name in ("q", "k", "v")}
    if not all(isinstance(part, Linear) for part in parts.values()):
        return {}
    widths = {part.in_features for part in parts.values()}  # type: ignore[union-attr]
    sizes = [part.out_features for part in parts.values()]  # type: ignore[union-attr]
    if len(widths) > 1:  # cross-attention between unlike widths
        return {}
    return dict(zip(parts, cut(empty_panels(sum(sizes), widths.pop(), mode), sizes), strict=False))


def narrow_modules(model: Module) -> Iterator[tuple[str, Narrow]]:
    """The weights of a model that are whole numbers, by each of their names."""
    modules = model.named_modules(remove_duplicate=False)
    yield from ((name, module) for name, module in modules if isinstance(module, Narrow))


def mode_of(model: Module) -> Mode | None:
    """What a model's layers keep, one of TYPES'; None where they are float."""
    modes = {module.panels.mode for _, module in narrow_modules(model) if isinstance(module, NarrowLinear)}
    return next((mode for mode in reversed(TYPES.values()) if mode in modes), None)  # int4, what is outside being int8


def type_of(model: Module) -> str | None:
    """Its name, as `dtype` has it."""
    mode = mode_of(model)
    return next((name for name, one in TYPES.items() if one is mode), None)


def require_float(model: Module, what: str) -> None:
    """Raises ConfigError where a model, which is called `what`, cannot be trained."""
    kind = type_of(model)
    if kind is not None:
        raise ConfigError(
            f"the {what} is an {kind} model, which cannot be trained, nor adapters on it; take the float model that it was made "
            f'from, and load what comes of it with dtype="{kind}".'
        )


def narrow_tensors(model: Module, gone: Collection[str]) -> dict[str, Tensor]:
    """What a folder of such a model holds: tensors under our names, weights as they are kept, without those that are gone."""
    modules = dict(narrow_modules(model))
    tensors: dict[str, Tensor] = {}
    for name, tensor in Module.state_dict(model).items():  # a joined model's own leaves out what both sides share
        module = modules.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if name in gone:
            continue
        if module is None:
            tensors[name] = tensor
        else:
            tensors[name], tensors[name + SCALES] = as_tensors(plain(module.panels))
    return tensors


def load_narrow(model: Any, path: Path, gone: Collection[str], place: Callable[[str, Tensor], None]) -> None:
    """Fills a blank model of TYPES from its file; `place` puts what is no such weight. Raises CheckpointError."""
    try:
        opened = safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'"{path}" cannot be read ({error}); save the model again.') from None
    with opened as file:
        there = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        modules = dict(narrow_modules(model))
        for name, shape in model.ops.shapes(model).items():
            module = modules.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
            if name in gone:
                continue
            names = {name: shape}
            if module is not None:
                names[name], names[name + SCALES] = plain_shapes(module.panels.mode, *module.shape)
            for one, expected in names.items():
                if there.get(one) != expected:
                    found = f"is {list(there[one])}" if one in there else "is missing"
                    raise CheckpointError(f'"{path}": "{one}" {found}; {list(expected)} was expected.')
            values = [file.get_tensor(one) for one in names]
            if module is None:
                place(name, values[0])
            else:
                module.take_stored(*values)
