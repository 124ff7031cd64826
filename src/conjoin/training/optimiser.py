"""AdamW over groups of parameters: encoder, decoder and new, decayed or not, those that wait at first, gates."""

from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import AdamW

from conjoin.errors import ConfigError
from conjoin.parameters import members
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.recipe import Recipe
from conjoin.training.schedule import Moment, factor
from conjoin.training.tables import GROUPS, GroupName

__all__ = ["OURS", "adamw", "group_of", "learning_rates", "parameter_groups", "set_learning_rates"]

FUSED = ("cpu", "cuda")
GATES = 50.0  # times the rate of other new parameters: a gate is one number on the way from 0 to 1 (docs/decisions.md)
OURS = ("name", "waits", "base_rate", "weight_decay")  # what a group of parameters says of itself


def group_of(name: str, new: set[str]) -> GroupName:
    """The group of a parameter of this name."""
    if name in new:
        return "new"
    return "encoder" if name.startswith("encoder.") else "decoder"


def parameter_groups(model: EncoderDecoderModel, recipe: Recipe) -> list[dict[str, Any]]:
    """What is trained, at once or later, by group and weight decay; groups without a parameter are left out.

    Vectors (biases, norms, gates) are not decayed, and new gates learn faster than other new parameters. Raises
    ConfigError where nothing is left to train, at first or ever.
    """
    new, names = set(model.new_parameters), [name for name, _ in model.named_parameters()]
    first = set(members(recipe.train_first, names, model.new_parameters)) if recipe.train_first else set(names)
    found: dict[tuple[GroupName, bool, bool, float], list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            times = GATES if name in new and name.endswith("cross_gate") else 1.0
            key = group_of(name, new), name not in first, parameter.ndim >= 2, times
            found.setdefault(key, []).append(parameter)
    if all(waits for _, waits, _, _ in found):
        frozen = [*recipe.freeze, *(name for name in GROUPS if recipe.group(name).freeze)]
        what = f"train_first={list(recipe.train_first)}" if found else f"freeze={frozen}"
        raise ConfigError(f"{what} leaves nothing to train; name parts that the model has, and freeze fewer.")
    return [
        {
            "params": parameters,
            "name": name,
            "waits": waits,
            "base_rate": (recipe.group(name).learning_rate or 0.0) * times,
            "weight_decay": recipe.group(name).weight_decay if decayed else 0.0,
        }
        for (name, waits, decayed, times), parameters in sorted(found.items(), key=lambda group: group[0])
    ]


def adamw(groups: list[dict[str, Any]], recipe: Recipe, device: torch.device) -> AdamW:
    """AdamW over groups of parameters on a device, fused where torch has it so. Without weight decay it is Adam."""
    return AdamW(
        groups,
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=device.type in FUSED,
    )


def set_learning_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, moment: Moment) -> None:
    """Gives each group its rate, times the schedule's factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_rate"] * factor(recipe, group["name"], group["waits"], moment)


def learning_rates(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """The rate of each group as it is now; of parts of a group the highest."""
    found: dict[str, float] = {}
    for group in optimiser.param_groups:
        found[group["name"]] = max(group["lr"], found.get(group["name"], 0.0))
    return found
