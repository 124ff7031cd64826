"""How good an extractor's summaries are: ROUGE, beside the first sentences and the best that the oracle finds."""

from conjoin.evaluation import METRICS, Scores, score
from conjoin.evaluation.intervals import RESAMPLES
from conjoin.extraction.documents import Documents
from conjoin.extraction.model import Extractor
from conjoin.extraction.oracle import oracle

__all__ = ["baselines", "evaluate_extractor", "joined", "values_of"]


def evaluate_extractor(
    model: Extractor,
    documents: Documents,
    *,
    sentences: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Scores]:
    """The scores of "model", of "lead" (as many first sentences), and of "oracle" (at most as many, chosen by the summary).

    Raises InputError for a number of sentences that cannot be.
    """
    count = model.settings.sentences if sentences is None else sentences
    found = {
        "model": model.chosen(documents.sentences, sentences, batch_size),
        **baselines(documents, count),
    }
    return {
        name: score(joined(documents, chosen), documents.summaries, seed=seed, resamples=resamples)
        for name, chosen in found.items()
    }


def baselines(documents: Documents, count: int) -> dict[str, list[list[int]]]:
    """What needs no model: "lead", so many first sentences, and "oracle", at most so many, chosen by the summary."""
    return {
        "lead": [list(range(min(count, len(own)))) for own in documents.sentences],
        "oracle": [oracle(*pair, count) for pair in zip(documents.sentences, documents.summaries, strict=True)],
    }


def values_of(documents: Documents, chosen: list[list[int]]) -> dict[str, float]:
    """The scores of chosen sentences, without intervals, by the names of METRICS."""
    found = score(joined(documents, chosen), documents.summaries, resamples=1)
    return {name: found.estimate(name).value for name in METRICS}


def joined(documents: Documents, chosen: list[list[int]]) -> list[str]:
    """The texts of chosen sentences."""
    return [" ".join(own[i] for i in numbers) for own, numbers in zip(documents.sentences, chosen, strict=True)]
