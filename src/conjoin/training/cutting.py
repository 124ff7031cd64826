"""FSDP2: a model of which each process has a part, and its optimiser's state, cut and whole."""

from collections import Counter
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from conjoin.torch.model import EncoderDecoderModel

__all__ = ["cut", "cut_state", "whole_state"]


def cut(model: EncoderDecoderModel, accelerator: Accelerator) -> EncoderDecoderModel:
    """The model with every parameter an equal part in each process, gathered layer by layer when it is called.

    Layers that share parameters with something else, or stand in several places, belong to the model's own group: those
    are gathered once a call.
    """
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    everywhere = slots(model)
    for layer in (layer for stack in (model.encoder, model.decoder) for layer in layers_of(stack)):
        if all(everywhere[parameter] == count for parameter, count in slots(layer).items()):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)  # in place; its class becomes one that knows how
    return model


def layers_of(stack: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers of an encoder or a decoder that stand in one place; none of an encoder of the user's own."""
    layers = stack._modules.get("layers")
    return [] if layers is None or stack.spec.blocks else list(layers.children())  # type: ignore[union-attr]


def slots(module: torch.nn.Module) -> Counter[int]:
    """In how many places of a module each parameter is, by its identity."""
    return Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))


def whole_state(optimiser: torch.optim.Optimizer, keep: bool) -> dict[str, Any]:
    """An optimiser's state as one process would have it. All processes call it; those that do not `keep` it only help.

    What was cut goes to main memory, one tensor at a time.
    """
    found = optimiser.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for i, of in found["state"].items():
        state[i] = {}
        for name, value in of.items():
            full = value.full_tensor() if isinstance(value, DTensor) else value
            if keep:
                state[i][name] = full.cpu() if isinstance(full, Tensor) else full
    return {**found, "state": state}


def cut_state(found: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """What `whole_state` gave, cut as the optimiser's parameters are now, in however many processes."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state = {
        i: {name: like(value, parameters[i]) for name, value in of.items()}
        for i, of in found["state"].items()
        if i < len(parameters)
    }
    return {**found, "state": state}


def like(value: Any, parameter: Tensor) -> Any:
    """A value of a parameter's size, cut as that is; any other as it stands."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
