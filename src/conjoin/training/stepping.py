"""One update of the weights: a token-mean loss over the batches of all processes, clipped, and refused if no number."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from conjoin.errors import ConjoinError
from conjoin.static.compiled import explained
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.batches import Share, collate
from conjoin.training.distributing import Placed
from conjoin.training.optimiser import adamw, parameter_groups, set_learning_rates
from conjoin.training.precision import arithmetic
from conjoin.training.randomness import seed_batch
from conjoin.training.recipe import Recipe
from conjoin.training.schedule import Moment, waits
from conjoin.training.tokenise import Examples

__all__ = ["Stepper", "source_pad"]


class Stepper:
    """The model where it trains, its copies in other processes, and the optimiser."""

    def __init__(
        self, model: EncoderDecoderModel, recipe: Recipe, examples: Examples, accelerator: Accelerator
    ) -> None:
        self.recipe, self.examples, self.accelerator = recipe, examples, accelerator
        self.pad = source_pad(model)
        self.placed = Placed(model, accelerator, recipe.sharding)
        self.optimiser = adamw(parameter_groups(self.placed.trained, recipe), recipe, accelerator.device)
        self.trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.waiting: bool | None = None  # whether only some parts are trained as yet
        self.module: Any = self.placed.trained

    def tokens(self, share: Share) -> int:
        """How many target tokens this process has in a step."""
        return sum(len(self.examples.labels[i]) for rows in share if rows is not None for i in rows.tolist())

    def wait(self, waiting: bool) -> None:
        """Lets parameters that wait at first learn nothing, or learn; where that changes, copies are made anew.

        A cut model was cut with what is trained; what waits there gets gradients, and `gradients` drops them.
        """
        if waiting == self.waiting:
            return
        self.waiting = waiting
        if not self.placed.is_cut:
            for parameter, waits in self.parameters():
                parameter.requires_grad_(not (waiting and waits))
        self.module = self.placed.called()
        if self.recipe.compile:
            self.module = torch.compile(self.module, dynamic=True)

    def parameters(self) -> Iterator[tuple[Tensor, bool]]:
        """What is trained, and whether it waits at first."""
        for group in self.optimiser.param_groups:
            yield from ((parameter, group["waits"]) for parameter in group["params"])

    def step(self, share: Share, tokens: int, moment: Moment) -> float:
        """Updates the weights; the loss is the mean over `tokens`, the target tokens of all processes in this step.

        Raises ConjoinError, before any weight has changed, where the loss or the gradient is no finite number.
        """
        self.wait(waits(self.recipe, moment))
        loss = self.gradients(share, tokens, moment.steps + 1)
        norm = self.placed.whole(torch.nn.utils.clip_grad_norm_(self.trained, self.recipe.max_grad_norm or math.inf))
        value, size = torch.stack((loss, norm.to(loss))).tolist()
        if not (math.isfinite(value) and math.isfinite(size)):
            raise ConjoinError(
                f"training stopped at step {moment.steps + 1}: the loss is {value:g} and the gradient's norm {size:g}, where "
                f"finite numbers were expected; lower learning_rate and new_learning_rate, or train in float32."
            )
        set_learning_rates(self.optimiser, self.recipe, moment)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return float(value)

    def gradients(self, share: Share, tokens: int, number: int = 1) -> Tensor:
        """Leaves the gradients of the step's mean loss in the weights, and returns that loss."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        total = torch.zeros((), dtype=torch.float32, device=self.accelerator.device)
        for at, rows in enumerate(share):
            batch = {name: t.to(self.accelerator.device) for name, t in collate(self.examples, rows, self.pad).items()}
            seed_batch(self.recipe.seed, number, at * processes + process)
            with self.exchange(last=at + 1 == len(share)):
                with arithmetic(self.recipe.precision, self.accelerator.device):
                    loss = self.loss(batch, tokens)
                (loss * processes).backward()  # type: ignore[no-untyped-call] # the copies' gradients are averaged
            total += loss.detach()
        if self.waiting and self.placed.is_cut:
            for parameter in (parameter for parameter, waits in self.parameters() if waits):
                parameter.grad = None
        everywhere: Tensor = self.accelerator.reduce(total, "sum")
        return everywhere

    def exchange(self, last: bool) -> AbstractContextManager[None]:
        """Processes exchange gradients once a step, with its last batch; where the model is cut with each batch, since
        otherwise all of them would be kept whole.
        """
        if last or self.placed.is_cut:
            return nullcontext()
        wait: AbstractContextManager[None] = self.accelerator.no_sync(self.module)
        return wait

    def loss(self, batch: dict[str, Tensor], tokens: int) -> Tensor:
        """The sum of a batch's losses over `tokens`."""
        more = {"num_items_in_batch": tokens, "smoothing": self.recipe.label_smoothing}
        with explained("the model", "train with compile=False") if self.recipe.compile else nullcontext():
            loss: Tensor = self.module(**batch, **more, return_logits=False).loss
        return loss


def source_pad(model: EncoderDecoderModel) -> int:
    """What fills up a batch of sources: the encoder's pad token, by which RoBERTa counts positions, or 0."""
    pad = model.encoder.config.pad_token_id
    return 0 if pad is None else pad
