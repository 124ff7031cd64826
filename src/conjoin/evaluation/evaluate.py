"""A model's texts, scored and described; and a baseline that copies the first sentence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conjoin.errors import DataError
from conjoin.evaluation.bleu import bleu_and_chrf
from conjoin.evaluation.intervals import RESAMPLES, Estimate, estimates
from conjoin.evaluation.measures import Measure
from conjoin.evaluation.rouge import rouge_scores
from conjoin.evaluation.significance import TRIALS, Difference, differences
from conjoin.evaluation.texts import ORDERS, lead, text_measures

if TYPE_CHECKING:
    from conjoin.model import JoinedModel
    from conjoin.pipelines import Writer
    from conjoin.training.data import Pairs

__all__ = ["FACTS", "METRICS", "Scores", "compare", "evaluate", "lead_baseline", "score", "write_all"]

# How good texts are, from 0 to 100; and what they are like: words, a ratio, percent.
METRICS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "bleu": "BLEU", "chrf": "chrF"}
FACTS = {
    "length": "words",
    "length_ratio": "length ratio",
    **{f"repeated{n}": f"repeated {n}-grams" for n in ORDERS},
    **{f"novel{n}": f"novel {n}-grams" for n in ORDERS},
    "lead_copies": "first sentence",
}


@dataclass(frozen=True)
class Scores:
    """What is known of texts, with 95% intervals, by the names of METRICS and FACTS (those of sources only with these).

    `pairs` is how many there are, `predictions` and `references` the texts in order, `measures` the counts behind the
    estimates.
    """

    estimates: Mapping[str, Estimate]
    predictions: tuple[str, ...] = field(repr=False)
    references: tuple[str, ...] = field(repr=False)
    measures: Mapping[str, Measure] = field(repr=False, compare=False)

    @property
    def pairs(self) -> int:
        """How many pairs were scored."""
        return len(self.predictions)

    def estimate(self, name: str) -> Estimate:
        """The estimate of this name."""
        return self.estimates[name]

    @property
    def rouge1(self) -> Estimate:
        """ROUGE-1, from 0 to 100."""
        return self.estimates["rouge1"]

    @property
    def rouge2(self) -> Estimate:
        """ROUGE-2, from 0 to 100."""
        return self.estimates["rouge2"]

    @property
    def rougeL(self) -> Estimate:  # noqa: N802 - the name that everybody has for it
        """ROUGE-L, from 0 to 100."""
        return self.estimates["rougeL"]

    @property
    def bleu(self) -> Estimate:
        """BLEU, from 0 to 100."""
        return self.estimates["bleu"]

    @property
    def chrf(self) -> Estimate:
        """ChrF, from 0 to 100."""
        return self.estimates["chrf"]

    def to_dict(self) -> dict[str, Any]:
        """The estimates and their intervals, for JSON; without the texts."""
        found = {name: {"value": e.value, "low": e.low, "high": e.high} for name, e in self.estimates.items()}
        return {**found, "pairs": self.pairs}


def score(
    predictions: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Scores:
    """The scores of texts against one reference each. The seed is that of the intervals.

    Raises DataError where there are no texts or their numbers differ, ImportError where an extra is not installed.
    """
    count = len(predictions)
    if count != len(references) or not predictions:
        raise DataError(f"{count} texts and {len(references)} references came; the same number was expected.")
    if sources is not None and len(sources) != count:
        raise DataError(f"{count} texts and {len(sources)} sources came; the same number was expected.")
    measures = {
        **rouge_scores(predictions, references),
        **bleu_and_chrf(predictions, references),
        **text_measures(predictions, references, sources),
    }
    found = estimates(measures, seed=seed, resamples=resamples)
    return Scores(found, tuple(predictions), tuple(references), measures)


def compare(
    first: Scores, second: Scores, *, seed: int = 0, resamples: int = RESAMPLES, trials: int = TRIALS
) -> dict[str, Difference]:
    """How the second of two systems scored on the same pairs differs from the first, by the names of its estimates.

    `resamples` are those of the intervals, `trials` those of the p-values. Raises DataError where the references differ.
    """
    if first.references != second.references:
        raise DataError(
            f"texts of {first.pairs} and of {second.pairs} pairs came, whose references differ; two systems are compared "
            f"on the same pairs in the same order."
        )
    return differences(first.measures, second.measures, seed=seed, resamples=resamples, trials=trials)


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
    sources, targets = sides(pairs)
    if settings.get("do_sample"):
        settings = {"seed": seed, **settings}
    texts = write_all(model, sources, progress, **settings)
    return score(texts, targets, sources, seed=seed, resamples=resamples)


def write_all(
    model: "Writer | JoinedModel | str",
    sources: Sequence[str],
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> list[str]:
    """What a model writes of each source, as `evaluate` has it written."""
    from conjoin.pipelines import Writer, pipeline

    write: Writer = model if isinstance(model, Writer) else pipeline(model)
    texts: dict[int, str] = {}
    for index, written in write.batches(sources, **settings):
        texts |= {i: several[0] for i, several in zip(index, written, strict=True)}
        if progress is not None:
            progress(len(index))
    return [texts[i] for i in range(len(sources))]


def sides(pairs: "Pairs | Sequence[tuple[str, str]]") -> tuple[list[str], list[str]]:
    """The sources and the targets. Raises DataError where there are none."""
    from conjoin.training.data import Pairs

    if isinstance(pairs, Pairs):
        return pairs.sources, pairs.targets
    if not pairs:
        raise DataError("there are no pairs to evaluate on; at least one was expected.")
    return [source for source, _ in pairs], [target for _, target in pairs]


def lead_baseline(pairs: "Pairs | Sequence[tuple[str, str]]", *, seed: int = 0, resamples: int = RESAMPLES) -> Scores:
    """The scores of each source's first sentence: what a model must beat to be worth running."""
    sources, targets = sides(pairs)
    return score([lead(source) for source in sources], targets, sources, seed=seed, resamples=resamples)
