"""LoRA by PEFT: adapters beside pretrained weights are trained, saved by themselves, and merged where the model is."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from conjoin.errors import ConfigError
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.tables import Lora

__all__ = ["ADAPTERS", "Adapters"]

ADAPTERS = "adapter"  # their folder, beside a model
WEIGHTS = "adapter_model.safetensors"  # PEFT's name


class Adapters:
    """The adapters of a model while it trains; none where the rank is 0. Leaves the model without them in the end."""

    def __init__(self, model: EncoderDecoderModel, lora: Lora) -> None:
        self.model, self.lora = model, lora
        self.layers: dict[str, Any] = {}
        self.adapted: Any = None

    def __enter__(self) -> "Adapters":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def attach(self) -> None:
        """Puts adapters that say nothing yet beside the targets, which are no longer trained, as nothing pretrained is.

        Raises ConfigError where the model has no such layer, ImportError without PEFT.
        """
        if not self.lora.rank:
            return
        try:
            import peft
        except ModuleNotFoundError:
            raise ImportError('LoRA needs peft, which is not installed; run: pip install "conjoin[lora]".') from None
        new = {n for n, p in self.model.named_parameters() if n in self.model.new_parameters and p.requires_grad}
        config = peft.LoraConfig(
            r=self.lora.rank,
            lora_alpha=self.lora.alpha,  # type: ignore[arg-type] # PEFT divides it by the rank
            lora_dropout=self.lora.dropout,
            target_modules=self.targets(),
        )
        self.adapted = peft.get_peft_model(self.model, config)  # type: ignore[arg-type]
        for name, parameter in self.model.named_parameters():
            if name in new:
                parameter.requires_grad_(True)
        self.layers = {n: m for n, m in self.model.named_modules() if isinstance(m, peft.tuners.lora.LoraLayer)}
        self.share()

    def share(self) -> None:
        """Gives layers that have one weight one adapter: with one of its own each could not be in the weight."""
        first: dict[torch.nn.Parameter, Any] = {}
        for layer in self.layers.values():
            one = first.setdefault(layer.base_layer.weight, layer)
            layer.lora_A, layer.lora_B = one.lora_A, one.lora_B

    def targets(self) -> list[str]:
        """The whole names of the layers that get adapters: pretrained, not frozen, and named by the recipe."""
        linear = {n: m for n, m in self.model.named_modules() if isinstance(m, torch.nn.Linear)}
        found = [
            name
            for name, module in linear.items()
            if name.rpartition(".")[2] in self.lora.targets
            and f"{name}.weight" not in self.model.new_parameters
            and module.weight.requires_grad
        ]
        if not found:
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(
                f"lora.targets is {list(self.lora.targets)}; the model's pretrained layers that are trained have none of "
                f"these; its layers are named {', '.join(known)}."
            )
        return found

    @contextmanager
    def merged(self) -> Iterator[None]:
        """The model with layers as it had them, their weights with what the adapters add."""
        for name, layer in self.layers.items():
            self.put(name, merged(layer))
        try:
            yield
        finally:
            for name, layer in self.layers.items():
                self.put(name, layer)

    def detach(self) -> None:
        """Takes the adapters away; the weights are then those from before."""
        for name, layer in self.layers.items():
            self.put(name, layer.base_layer)
        self.layers = {}

    def put(self, name: str, module: torch.nn.Module) -> None:
        """Sets a module of the model by its name."""
        parent, _, own = name.rpartition(".")
        setattr(self.model.get_submodule(parent), own, module)

    def write(self, folder: Path) -> None:
        """Saves the model, merged, and the adapters, as PEFT has them, in a folder of their own within its."""
        with self.merged():
            self.model.save_pretrained(folder)
        if self.layers:
            from peft import get_peft_model_state_dict

            (folder / ADAPTERS).mkdir()
            everything = dict(self.adapted.named_parameters(remove_duplicate=False))  # shared ones under both names
            tensors = get_peft_model_state_dict(self.adapted, everything, save_embedding_layers=False)
            save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / ADAPTERS / WEIGHTS)
            self.adapted.peft_config["default"].save_pretrained(folder / ADAPTERS)

    def load(self, folder: Path) -> None:
        """Takes up the adapters that `write` wrote."""
        if self.layers:
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self.adapted, load_file(folder / ADAPTERS / WEIGHTS))

    def base(self) -> dict[str, torch.Tensor]:
        """The weights beside which adapters stand, by name: what no checkpoint changes."""
        names = [f"{name}.weight" for name in self.targets()] if self.lora.rank else []
        return {name: self.model.get_parameter(name) for name in names}

    @contextmanager
    @torch.no_grad()
    def keeping_base(self) -> Iterator[None]:
        """Leaves those weights as they are, whatever the block loads: a checkpoint has them with what adapters add."""
        kept = {name: tensor.clone() for name, tensor in self.base().items()}
        yield
        for name, tensor in kept.items():
            self.model.get_parameter(name).copy_(tensor)

    def fingerprint(self) -> str:
        """A hash of those weights; empty without adapters."""
        digest = hashlib.blake2b(digest_size=16)
        for tensor in self.base().values():
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest() if self.lora.rank else ""


@torch.no_grad()
def merged(layer: Any) -> torch.nn.Linear:
    """A linear layer with the sum of a layer's weight and its adapter."""
    base: torch.nn.Linear = layer.base_layer
    found = torch.nn.Linear(
        base.in_features, base.out_features, base.bias is not None, base.weight.device, base.weight.dtype
    )
    found.weight.copy_(base.weight + layer.get_delta_weight("default"))
    if base.bias is not None:
        found.bias.copy_(base.bias)
    return found.train(layer.training).requires_grad_(False)
