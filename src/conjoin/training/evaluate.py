"""What a model is worth on validation pairs: its loss, and which of two evaluations is the better."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from conjoin.evaluation import METRICS, Scores
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.agreeing import together
from conjoin.training.batches import Batches, collate, share_of
from conjoin.training.data import Pairs
from conjoin.training.precision import arithmetic
from conjoin.training.recipe import Precision
from conjoin.training.tokenise import Examples

__all__ = [
    "LOSS",
    "GenerationScores",
    "Look",
    "chosen_by",
    "generation_scores",
    "improves",
    "text_scores",
    "validation_loss",
]

# From a model and pairs to scores by name, "rougeL" among them where it is to choose the best checkpoint.
GenerationScores = Callable[[EncoderDecoderModel, Pairs], Mapping[str, float] | Scores]
# Is given the model, in evaluation mode, and what it wrote of the pairs, where that is known.
Look = Callable[[EncoderDecoderModel, Sequence[str] | None], None]
LOSS, BY_TEXT = "loss", "rougeL"


@torch.no_grad()
def validation_loss(
    model: torch.nn.Module,
    examples: Examples,
    batches: Batches,
    *,
    pad: int,
    precision: Precision,
    accelerator: Accelerator,
) -> float:
    """The mean loss over all target tokens, each process computing its share: as many batches as any other."""
    total = torch.zeros((), dtype=torch.float32, device=accelerator.device)
    model.eval()
    for rows in share_of(batches.in_order(), accelerator.process_index, accelerator.num_processes):
        batch = {name: tensor.to(accelerator.device) for name, tensor in collate(examples, rows, pad).items()}
        with arithmetic(precision, accelerator.device):
            total += model(**batch, num_items_in_batch=1, return_logits=False).loss
    model.train()
    everywhere: torch.Tensor = accelerator.reduce(total, "sum")
    return float(everywhere) / int(examples.label_lengths.sum())


def generation_scores(
    model: EncoderDecoderModel,
    pairs: Pairs,
    score: GenerationScores | None,
    accelerator: Accelerator,
    look: Look | None = None,
) -> dict[str, float]:
    """The scores of texts that the main process generates, known to every process; there `look` is called too."""
    found: list[dict[str, float]] = [{}]
    with together(accelerator):
        if accelerator.is_main_process:
            model.eval()
            scores = {} if score is None else score(model, pairs)
            by_name = {name: scores.estimate(name).value for name in METRICS} if isinstance(scores, Scores) else scores
            found = [{name: float(value) for name, value in by_name.items()}]
            if look is not None:
                look(model, scores.predictions if isinstance(scores, Scores) else None)
            model.train()
    broadcast_object_list(found)
    return found[0]


def text_scores(model: EncoderDecoderModel, pairs: Pairs) -> Scores:
    """ROUGE, BLEU and chrF of what the model writes by its own settings: a GenerationScores.

    Raises ImportError where the extra "evaluate" is not installed.
    """
    from conjoin.evaluation import evaluate

    return evaluate(model, pairs, resamples=1, truncation=True)


def chosen_by(evaluation: Mapping[str, float]) -> str:
    """The metric that chooses the best checkpoint: ROUGE-L where texts were generated, else the loss."""
    return BY_TEXT if BY_TEXT in evaluation else LOSS


def improves(found: Mapping[str, float], best: Mapping[str, float] | None) -> bool:
    """Whether an evaluation is better than the best so far; of two alike, the one of the lower loss.

    Early on all ROUGE is 0, and later it rests on few texts, so that being alike is common.
    """
    if best is None or chosen_by(found) != chosen_by(best):
        return True
    return rank(found) > rank(best)


def rank(evaluation: Mapping[str, float]) -> tuple[float, float]:
    """What is larger for the better evaluation; what is no number comes last."""
    values = (evaluation.get(BY_TEXT, 0.0), -evaluation[LOSS])
    first, second = (-math.inf if math.isnan(value) else value for value in values)
    return first, second
