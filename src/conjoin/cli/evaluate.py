"""`conjoin evaluate`: ROUGE, BLEU and chrF of a model on test pairs, with 95% intervals, beside a lead baseline."""

import json
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conjoin.cli.bars import bar
from conjoin.cli.lines import opened_output
from conjoin.cli.options import (
    BackendName,
    BatchSize,
    Device,
    DType,
    InChunks,
    LengthPenalty,
    MaxNewTokens,
    MinNewTokens,
    Model,
    NoRepeat,
    NumBeams,
    Repetition,
    Truncate,
    device_name,
)
from conjoin.errors import InputError

if TYPE_CHECKING:
    from conjoin.evaluation import Scores
    from conjoin.training.data import Pairs

__all__ = ["evaluate"]


def evaluate(
    model: Model,
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
    seed: Annotated[int, typer.Option(help="Of the intervals' resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
    predictions: Annotated[
        str | None, typer.Option(help="Also write what the model wrote, one text a line.", show_default=False)
    ] = None,
    batch_size: BatchSize = 32,
    truncate: Truncate = False,
    encode_in_chunks: InChunks = None,
    device: Device = None,
    dtype: DType = None,
    backend: BackendName = "torch",
) -> None:
    """Score what a model writes of test pairs: ROUGE, BLEU and chrF, with 95% bootstrap intervals.

    Beside it stands the lead baseline: each source's first sentence, which a model must beat to be worth running.
    """
    from conjoin.extraction import is_extractor
    from conjoin.training.data import read_pairs

    if is_extractor(model):
        from conjoin.cli.extractive import evaluate_extractive

        columns = {"source_column": source_column, "target_column": target_column}
        evaluate_extractive(model, data, columns, split, limit, seed, as_json)
        return
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
    pairs = read_pairs(data, source_column=source_column, target_column=target_column, split=split)
    pairs = pairs if limit is None else pairs.first(limit)
    options = {
        "batch_size": batch_size,
        "truncation": truncate,
        "device": device_name(device),
        "dtype": dtype,
        "backend": backend,
    }
    began = time.monotonic()
    scores, baseline = scored(model, pairs, given, options, seed)
    seconds = time.monotonic() - began
    if predictions is not None:
        with opened_output(predictions) as out:
            out.writelines(" ".join(text.splitlines()).encode() + b"\n" for text in scores.predictions)
    if as_json:
        found = {"model": model, "data": data, "settings": given, "seed": seed, "seconds": round(seconds, 1)}
        print(json.dumps({**found, "scores": scores.to_dict(), "lead": baseline.to_dict()}, indent=2))
    else:
        print_table(scores, baseline, said(given), seconds)


def scored(
    model: str, pairs: "Pairs", settings: dict[str, Any], options: dict[str, Any], seed: int
) -> "tuple[Scores, Scores]":
    """The model's scores and the baseline's. Raises InputError for a source that is too long."""
    from conjoin import evaluation, pipeline
    from conjoin.pipelines import SourceTooLongError

    baseline = evaluation.lead_baseline(pairs, seed=seed)  # first: where an extra is missing, it is said at once
    write = pipeline(model=model, **options)
    shown = bar("Evaluating", len(pairs), "pairs") if sys.stderr.isatty() else nullcontext(None)
    try:
        with shown as progress:
            return evaluation.evaluate(write, pairs, seed=seed, progress=progress, **settings), baseline
    except SourceTooLongError as error:
        raise InputError(
            f"source {error.index + 1} of {pairs.name} has {error.tokens} tokens and the encoder has positions for "
            f"{error.limit}; drop the end of such sources with --truncate, or read all of them in windows with "
            f"--encode-in-chunks."
        ) from None


def said(settings: dict[str, Any]) -> str:
    """Settings as one reads them."""
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "the model's own settings"


def print_table(scores: "Scores", baseline: "Scores", settings: str, seconds: float) -> None:
    """One row a metric: the model's score and interval, and the baseline's."""
    from rich.console import Console
    from rich.table import Table

    from conjoin.evaluation import METRICS

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for name in ("model", "95% interval", "first sentence", "95% interval"):
        table.add_column(name, justify="right")
    for metric, name in METRICS.items():
        cells = [
            (f"{e.value:.1f}", f"{e.low:.1f} to {e.high:.1f}") for e in (s.estimate(metric) for s in (scores, baseline))
        ]
        table.add_row(name, f"[bold]{cells[0][0]}[/]", cells[0][1], *cells[1])
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\n{scores.pairs} pairs, {settings}; {seconds:.0f} s.", soft_wrap=True)
