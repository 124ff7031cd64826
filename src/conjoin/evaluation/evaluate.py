"""A model's texts, scored with ROUGE, BLEU and chrF; and a baseline that copies the first sentence."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conjoin.errors import DataError
from conjoin.evaluation.bleu import bleu_and_chrf
from conjoin.evaluation.intervals import RESAMPLES, Estimate, mean_estimates
from conjoin.evaluation.rouge import rouge_scores

if TYPE_CHECKING:
    from conjoin.model import JoinedModel
    from conjoin.pipelines import Writer
    from conjoin.training.data import Pairs

__all__ = ["METRICS", "Scores", "evaluate", "lead", "lead_baseline", "score"]

METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "bleu": "BLEU", "chrf": "chrF"}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Scores:
    """Scores from 0 to 100 with 95% intervals, over `pairs` pairs; and the texts that were scored, in order."""

    rouge1: Estimate
    rouge2: Estimate
    rougeL: Estimate  # noqa: N815 - the name that everybody has for it
    bleu: Estimate
    chrf: Estimate
    pairs: int
    predictions: tuple[str, ...] = field(repr=False)

    def estimate(self, metric: str) -> Estimate:
        """The score of this name: one of METRICS."""
        found: Estimate = getattr(self, metric)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The scores and their intervals, for JSON; without the texts."""
        found = {name: self.estimate(name) for name in METRICS}
        return {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in found.items()} | {
            "pairs": self.pairs
        }


def score(
    predictions: Sequence[str], references: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> Scores:
    """The scores of texts against one reference each. The seed is that of the intervals.

    Raises DataError where there are no texts or their numbers differ, ImportError where an extra is not installed.
    """
    if len(predictions) != len(references) or not predictions:
        raise DataError(
            f"{len(predictions)} texts and {len(references)} references came; the same number was expected."
        )
    rouge1, rouge2, rouge_l = mean_estimates(rouge_scores(predictions, references), seed=seed, resamples=resamples)
    bleu, chrf = bleu_and_chrf(predictions, references, seed=seed, resamples=resamples)
    return Scores(rouge1, rouge2, rouge_l, bleu, chrf, len(predictions), tuple(predictions))


def evaluate(
    model: "Writer | JoinedModel | str",
    pairs: "Pairs | Sequence[tuple[str, str]]",
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> Scores:
    """What a model writes of the sources of `pairs`, scored against their targets.

    `model` is what `pipeline` takes, or a Writer; `pairs` are of `read_pairs`, or tuples of source and target.
    `settings` are a Writer's: fields of GenerationConfig, batch_size, truncation. Sources go in batches of like
    lengths; `progress` is called with the number of pairs after each. `seed` is that of the intervals, and of sampling
    where do_sample asks for it.

    Raises DataError for no pairs, InputError for sources that do not fit, TypeError for an unknown setting.
    """
    from conjoin.pipelines import Writer, pipeline

    sources, targets = sides(pairs)
    write: Writer = model if isinstance(model, Writer) else pipeline(model)
    if settings.get("do_sample"):
        settings = {"seed": seed, **settings}
    texts: dict[int, str] = {}
    for index, written in write.batches(sources, **settings):
        texts |= {i: several[0] for i, several in zip(index, written, strict=True)}
        if progress is not None:
            progress(len(index))
    return score([texts[i] for i in range(len(sources))], targets, seed=seed, resamples=resamples)


def sides(pairs: "Pairs | Sequence[tuple[str, str]]") -> tuple[list[str], list[str]]:
    """The sources and the targets. Raises DataError where there are none."""
    from conjoin.training.data import Pairs

    if isinstance(pairs, Pairs):
        return pairs.sources, pairs.targets
    if not pairs:
        raise DataError("there are no pairs to evaluate on; at least one was expected.")
    return [source for source, _ in pairs], [target for _, target in pairs]


def lead(text: str) -> str:
    """The first sentence of a text: up to a full stop, exclamation or question mark that white space follows."""
    return SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def lead_baseline(pairs: "Pairs | Sequence[tuple[str, str]]", *, seed: int = 0, resamples: int = RESAMPLES) -> Scores:
    """The scores of each source's first sentence: what a model must beat to be worth running."""
    sources, targets = sides(pairs)
    return score([lead(source) for source in sources], targets, seed=seed, resamples=resamples)
