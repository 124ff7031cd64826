"""`conjoin evaluate`: what models write of test pairs, scored and described, and whether two models differ."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conjoin.bulk.lines import expect_folder, opened_output
from conjoin.cli.options import (
    BackendName,
    BatchSize,
    Device,
    DType,
    InChunks,
    LengthPenalty,
    MaxBatchTokens,
    MaxNewTokens,
    MinNewTokens,
    NoRepeat,
    NumBeams,
    Repetition,
    Truncate,
    writing_options,
)
from conjoin.errors import InputError

if TYPE_CHECKING:
    from conjoin.cli.systems import System
    from conjoin.evaluation import Difference, Scores
    from conjoin.training.data import Pairs


__all__ = ["evaluate"]


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="A folder of a joined model, a hub id, or a file that --outputs wrote; others are compared to the first.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Test pairs: .jsonl, .csv, .tsv (or .gz of them), .parquet, or a data set of the hub.")
    ],
    source_column: Annotated[str, typer.Option(help="The field of the sources.")] = "document",
    target_column: Annotated[str, typer.Option(help="The field of the references.")] = "summary",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.", show_default=False)] = None,
    split: Annotated[str, typer.Option(help="Which split of a data set of the hub.")] = "test",
    num_beams: NumBeams = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    repetition_penalty: Repetition = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn for intervals and p-values.")] = 0,
    as_json: Annotated[
        str | None,
        typer.Option("--json", help="Also write all that was found as JSON; - is standard output, without a table."),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="Also write what the models wrote, as JSON lines.", show_default=False)
    ] = None,
    batch_size: BatchSize = None,
    max_batch_tokens: MaxBatchTokens = None,
    truncate: Truncate = False,
    encode_in_chunks: InChunks = None,
    device: Device = None,
    dtype: DType = None,
    backend: BackendName = "torch",
) -> None:
    """Score what models write of test pairs: ROUGE, BLEU and chrF, with 95% bootstrap intervals, and what it is like.

    Beside one model stands the lead baseline: each source's first sentence, which a model must beat to be worth running.
    Several are compared to the first: differences, their intervals, and p-values of approximate randomisation.
    """
    from conjoin.cli.evaluate_view import show
    from conjoin.cli.systems import save_outputs, systems_of
    from conjoin.evaluation import lead_baseline
    from conjoin.extraction import is_extractor
    from conjoin.training.data import read_pairs

    for file in (as_json, outputs):
        expect_folder(file)
    columns = {"source_column": source_column, "target_column": target_column}
    settings = {
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "encode_in_chunks": encode_in_chunks,
    }
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    for one in filter(is_extractor, models):
        from conjoin.cli.extractive import evaluate_extractive

        if len(models) > 1:
            raise InputError(f'"{one}" is an extractor, which is scored alone; {len(models)} systems came.')
        evaluate_extractive(one, data, columns, split, limit, seed, as_json, refused=given)
        return
    pairs = read_pairs(data, **columns, split=split)
    pairs = pairs if limit is None else pairs.first(limit)
    options = writing_options(batch_size, max_batch_tokens, truncate, device, dtype, backend)
    baseline = lead_baseline(pairs, seed=seed)  # first: where an extra is missing, it is said at once
    began = time.monotonic()
    systems = systems_of(models, pairs, given, options)
    seconds = time.monotonic() - began
    if outputs is not None:
        save_outputs(outputs, systems, pairs)
    scores, compared = scored(systems, pairs, seed)
    if as_json is not None:
        about = {"data": data, "pairs": len(pairs), "settings": given, "seed": seed, "seconds": round(seconds, 1)}
        with opened_output(as_json) as out:
            out.write(document(about, scores, baseline, compared, reference_facts(pairs)).encode())
    if as_json != "-":
        show(scores, baseline, compared, reference_facts(pairs))
        print(f"\nn-grams and first sentences are in percent.\n{len(pairs)} pairs, {said(given)}; {seconds:.0f} s.")


def scored(
    systems: "list[System]", pairs: "Pairs", seed: int
) -> "tuple[dict[str, Scores], dict[str, dict[str, Difference]]]":
    """The scores of each system by its name, and how each but the first differs from the first."""
    from conjoin.evaluation import compare, score

    scores = {system.name: score(system.texts, pairs.targets, pairs.sources, seed=seed) for system in systems}
    first, *others = scores
    return scores, {name: compare(scores[first], scores[name], seed=seed) for name in others}


def reference_facts(pairs: "Pairs") -> dict[str, float]:
    """What the references themselves are like, by the names of FACTS."""
    from conjoin.evaluation.texts import text_measures

    return {name: one.value for name, one in text_measures(pairs.targets, pairs.targets, pairs.sources).items()}


def document(
    about: dict[str, Any],
    scores: "dict[str, Scores]",
    baseline: "Scores",
    compared: "dict[str, dict[str, Difference]]",
    references: dict[str, float],
) -> str:
    """All that was found, as JSON."""
    from dataclasses import asdict

    found = {
        **about,
        "models": [{"model": name, "scores": one.to_dict()} for name, one in scores.items()],
        "lead": baseline.to_dict(),
        "references": references,
        "compared_to_first": [
            {"model": name, "differences": {metric: asdict(one) for metric, one in differences.items()}}
            for name, differences in compared.items()
        ],
    }
    return json.dumps(found, indent=2) + "\n"


def said(settings: dict[str, Any]) -> str:
    """Settings as one reads them."""
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "the model's own settings"
