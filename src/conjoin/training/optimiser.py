"""AdamW over groups of parameters (pretrained or new, decayed or not, gates), and the learning rate's schedule."""

import math

import torch
from torch.nn import Parameter
from torch.optim import AdamW

from conjoin.errors import ConfigError
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.recipe import Recipe

__all__ = ["adamw", "factor", "parameter_groups", "progress", "set_learning_rate"]

FUSED = ("cpu", "cuda")
GATES = 50.0  # times the rate of other new parameters: a gate is one number on the way from 0 to 1 (docs/decisions.md)


def parameter_groups(model: EncoderDecoderModel, recipe: Recipe) -> list[dict[str, object]]:
    """What is trained, by learning rate and weight decay; groups without a parameter are left out.

    Vectors (biases, norms, gates) are not decayed, and new gates learn faster than other new parameters. Raises
    ConfigError where nothing is left to train.
    """
    new = set(model.new_parameters)
    found: dict[tuple[float, bool], list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = recipe.new_learning_rate if name in new else recipe.learning_rate
            if name in new and name.endswith("cross_gate"):
                rate *= GATES
            found.setdefault((rate, parameter.ndim >= 2), []).append(parameter)
    if not found:
        raise ConfigError(f"freeze={recipe.freeze} leaves nothing to train; freeze fewer parts.")
    return [
        {
            "params": parameters,
            "base_rate": rate,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
        }
        for (rate, decayed), parameters in sorted(found.items(), key=lambda group: group[0])
    ]


def adamw(model: EncoderDecoderModel, recipe: Recipe) -> AdamW:
    """AdamW, fused where torch has it so."""
    return AdamW(
        parameter_groups(model, recipe),
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=model.device.type in FUSED,
    )


def progress(recipe: Recipe, epochs: float, steps: float, seconds: float) -> float:
    """How much of the run is over, 0 to 1: by whichever limit comes first."""
    limits = ((epochs, recipe.epochs), (steps, recipe.max_steps), (seconds / 60, recipe.minutes))
    return min(1.0, max(done / limit for done, limit in limits if limit is not None))


def factor(recipe: Recipe, steps: int, before: float, after: float) -> float:
    """What the learning rates are multiplied by in the step that begins after `steps` others.

    `before` and `after` are the progress that the step begins and ends with.
    """
    if recipe.warmup_steps is not None:
        warm, begin = min(1.0, (steps + 1) / max(1, recipe.warmup_steps)), 0.0
    else:
        begin = recipe.warmup_ratio
        warm = min(1.0, after / begin) if begin > 0 else 1.0
    left = 1.0 if begin >= 1 else min(1.0, (1.0 - before) / (1.0 - begin))
    if recipe.schedule == "constant":
        return warm
    return warm * (left if recipe.schedule == "linear" else (1 - math.cos(math.pi * left)) / 2)


def set_learning_rate(optimiser: torch.optim.Optimizer, times: float) -> None:
    """Gives each group its rate, times the schedule's factor."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_rate"] * times
