"""Taking up a run where its newest checkpoint left it, if the run is the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import Accelerator

from conjoin.errors import CheckpointError, ConfigError
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.adapters import Adapters
from conjoin.training.agreeing import together
from conjoin.training.checkpoints import Checkpoints, Standing, load_weights
from conjoin.training.distributing import Placed
from conjoin.training.optimiser import OURS
from conjoin.training.origin import check_origin
from conjoin.training.recipe import Recipe
from conjoin.training.tables import GROUPS
from conjoin.training.tokenise import Examples

__all__ = ["facts_of", "restore", "save", "take_up"]

# What decides which examples a step sees and what is trained: a checkpoint of other values cannot be gone on from.
SAME = (
    *("seed", "batch_size", "batch_tokens", "max_source_length", "max_target_length"),
    *("freeze", "train_first", "lora", "join", "start"),
)
Facts = dict[str, Any]


@dataclass(frozen=True)
class Resumed:
    """What a checkpoint has beside weights; `origin` is the hash of those that the run began with, where it was kept."""

    standing: Standing
    tensors: dict[str, Any]
    origin: str | None


def facts_of(recipe: Recipe, about: Mapping[str, str], batches_a_step: int, *examples: Examples | None) -> Facts:
    """What a checkpoint says about its run."""
    data = [one.fingerprint() for one in examples if one is not None]
    return {"recipe": recipe.to_dict(), "about": dict(about), "batches_a_step": batches_a_step, "data": data}


def check_same(before: Facts, now: Facts, where: str) -> None:
    """Raises ConfigError where a checkpoint is of a run that saw other batches."""
    was = {**Recipe().to_dict(), **before["recipe"]}  # a setting of later days had its default
    pairs = [(name, was[name], now["recipe"][name]) for name in SAME]
    pairs += [(f"{one}.freeze", was[one]["freeze"], now["recipe"][one]["freeze"]) for one in GROUPS]
    pairs += [(name, old, now["about"].get(name)) for name, old in before.get("about", {}).items()]
    pairs.append(("batches_a_step (accumulation times processes)", before["batches_a_step"], now["batches_a_step"]))
    differ = [f"{name} {old!r} (and now it is {new!r})" for name, old, new in pairs if old != new]
    if before["data"] != now["data"]:
        differ.append("other data or tokenizers")
    if before.get("base", "") != now["base"]:
        differ.append("other pretrained weights beside its adapters")
    if differ:
        raise ConfigError(
            f'"{where}" was trained with {", ".join(differ)}; go on as it began, choose another output folder, or '
            f"start again with resume=False (--no-resume)."
        )


def take_up(model: EncoderDecoderModel, checkpoints: Checkpoints, facts: Facts) -> Resumed | None:
    """Loads the newest checkpoint's weights into the model; returns what else it has, or None without one.

    Raises ConfigError where it is of another run, CheckpointError where it is broken.
    """
    steps = checkpoints.steps()
    if not steps:
        return None
    state, tensors = checkpoints.load(steps[-1])
    check_same(state, facts, str(checkpoints.path(steps[-1])))
    origin, new = state.get("origin"), tuple(state["new_parameters"])
    check_origin(model, origin, new, checkpoints)
    load_weights(model, checkpoints.path(steps[-1]))
    model.new_parameters = new
    return Resumed(Standing(**{**state["standing"], "losses": tensors["losses"].tolist()}), tensors, origin)


def restore(placed: Placed, optimiser: torch.optim.Optimizer, tensors: dict[str, Any]) -> None:
    """Puts back the optimiser's state; learning rates stay as they are now."""
    own = [{name: group[name] for name in OURS} for group in optimiser.param_groups]
    try:
        placed.give_state(optimiser, tensors["optimiser"])
    except ValueError as error:
        raise CheckpointError(
            f"the optimiser's state in the newest checkpoint does not fit the model: {error}."
        ) from None
    for group, ours in zip(optimiser.param_groups, own, strict=True):
        group.update(ours)


def save(
    model: EncoderDecoderModel,
    adapters: Adapters,
    optimiser: dict[str, Any],
    standing: Standing,
    facts: Facts,
    checkpoints: Checkpoints,
    accelerator: Accelerator,
) -> None:
    """Writes a checkpoint, and deletes those that are no longer kept. All processes call it; the main one writes.

    `optimiser` is the optimiser's state, whole.
    """
    state = {**facts, "new_parameters": list(model.new_parameters), "standing": {**asdict(standing), "losses": []}}
    losses = torch.tensor(standing.losses, dtype=torch.float64)
    tensors = {"optimiser": optimiser, "losses": losses}
    with together(accelerator):
        if accelerator.is_main_process:
            checkpoints.save(adapters.write, state, tensors)
            checkpoints.prune(None if standing.best is None else standing.best["step"])
