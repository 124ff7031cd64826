"""The model where it trains: here, a copy in each process (DistributedDataParallel), or cut among them (FSDP2)."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, parse_flag_from_env

from conjoin.errors import ConfigError
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.recipe import Recipe, Sharding

__all__ = ["Placed", "chosen_sharding", "one_accelerator"]

KINDS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU, DistributedType.FSDP)


def one_accelerator(recipe: Recipe) -> Accelerator:
    """Accelerate's view of this machine and its processes. Arithmetic and accumulation are ours: Accelerate's settings
    of them belong to the whole Python process, and could not differ between two runs.

    Raises ConfigError for a way of distributing other than copies of the model or FSDP.
    """
    try:
        accelerator = Accelerator(mixed_precision="no", cpu=recipe.device == "cpu")
    except ValueError as error:
        raise ConfigError(f"Accelerate was set up before in this process, in another way: {error}") from None
    kind: DistributedType = accelerator.distributed_type
    if kind not in KINDS:
        raise ConfigError(f"Accelerate is set up for {kind.value}; processes with a copy each, or FSDP, were expected.")
    return accelerator


def chosen_sharding(asked: Sharding) -> Sharding:
    """What was asked for, or "fsdp" where Accelerate's own settings ask for it."""
    return "fsdp" if parse_flag_from_env("ACCELERATE_USE_FSDP") else asked


class Placed:
    """A model on its device, among however many processes.

    `trained` is what is trained. Where it is cut it is another than `model`, which stays whole in main memory:
    `gather` then brings it up to date, and `assembled` lends it the device too.
    """

    def __init__(self, model: EncoderDecoderModel, accelerator: Accelerator, sharding: Sharding) -> None:
        self.model, self.device = model, accelerator.device
        self.is_cut = sharding == "fsdp" and accelerator.num_processes > 1
        self.accelerator = accelerator
        self.trained: Any = self.cut() if self.is_cut else model.to(accelerator.device)

    def cut(self) -> EncoderDecoderModel:
        """A copy of the model, a part of it in each process."""
        from conjoin.training.cutting import cut  # where nothing is cut, FSDP is not imported

        return cut(copy.deepcopy(self.model), self.accelerator)

    def called(self) -> Any:
        """What is called in training: DistributedDataParallel of what is now trained, where processes have copies."""
        return self.trained if self.is_cut else self.accelerator.prepare_model(self.trained)

    @torch.no_grad()
    def gather(self) -> None:
        """Gives `model` the weights as they are now. All processes call it."""
        if self.is_cut:
            self.trained.reshard()  # after an evaluation its own group is whole
            for own, part in zip(self.model.parameters(), self.trained.parameters(), strict=True):
                own.copy_(self.whole(part))

    def whole(self, tensor: Any) -> Any:
        """A parameter, or what was computed of parameters, whole. All processes call it."""
        return tensor.full_tensor() if self.is_cut else tensor

    def state_of(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """An optimiser's state as one process would have it, in the main one. All processes call it."""
        if not self.is_cut:
            return optimiser.state_dict()
        from conjoin.training.cutting import whole_state

        return whole_state(optimiser, keep=self.accelerator.is_main_process)

    def give_state(self, optimiser: torch.optim.Optimizer, found: dict[str, Any]) -> None:
        """Gives an optimiser what `state_of` gave, in however many processes. Raises ValueError where it does not fit."""
        if self.is_cut:
            from conjoin.training.cutting import cut_state

            found = cut_state(found, optimiser)
        optimiser.load_state_dict(found)

    @contextmanager
    def assembled(self, wanted: bool) -> Iterator[None]:
        """`model` as it is now, on the device where it is `wanted` there. All processes enter the block."""
        self.gather()
        if self.is_cut and wanted:
            self.model.to(self.device)
        try:
            yield
        finally:
            if self.is_cut:
                self.model.to("cpu")
