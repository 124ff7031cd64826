"""What `train --extractive` and `evaluate` do with an extractor in the place of a joined model."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from conjoin.bulk.lines import opened_output
from conjoin.errors import ConfigError, InputError

if TYPE_CHECKING:
    from conjoin.training import Recipe

__all__ = ["evaluate_extractive", "refuse_unheeded", "train_extractive"]

SIGNALLED = 128  # what a shell adds to the number of the signal that ended a program
HEEDED = (
    "learning_rate new_learning_rate schedule warmup_ratio warmup_steps reference_steps weight_decay adam_beta1 adam_beta2 "
    "adam_epsilon max_grad_norm dropout batch_size epochs max_steps minutes precision device max_source_length "
    "generation_examples seed"
).split()
HEEDED_OF_GROUPS = "learning_rate warmup_ratio warmup_steps weight_decay".split()


def refuse_unheeded(given: Iterable[str]) -> None:
    """Raises ConfigError for settings, by their names in a recipe, that say nothing of an extractor."""
    groups = [f"{group}.{name}" for group in ("encoder", "new") for name in HEEDED_OF_GROUPS]
    unheeded = [name for name in given if name not in (*HEEDED, *groups)]
    if unheeded:
        raise ConfigError(f"--extractive does not heed {', '.join(unheeded)}; leave out what sets it.")


def train_extractive(
    encoder: str,
    files: tuple[str, str | None],
    splits: tuple[str, str],
    columns: dict[str, str],
    recipe: "Recipe",
    output: Path,
    *,
    language: str,
    report: bool,
    quiet: bool,
) -> None:
    """Trains an encoder to choose sentences, and says where it is and how to use it."""
    from conjoin.extraction import extractor_for, read_documents, train_extractor
    from conjoin.torch import Encoder
    from conjoin.training.randomness import seed_all
    from conjoin.training.report import PAGE

    if Path(encoder).resolve() == output.resolve():
        raise ConfigError(f'--output is the folder of --encoder, "{encoder}"; choose another.')
    documents, held_out = (
        None if file is None else read_documents(file, **columns, split=split, language=language)
        for file, split in zip(files, splits, strict=True)
    )
    assert documents is not None
    seed_all(recipe.seed)
    opened = Encoder.from_pretrained(encoder)
    model = extractor_for(opened, documents, language=language, max_source_length=recipe.max_source_length)
    facts = train_extractor(model, documents, held_out, recipe, output, report=report, quiet=quiet)
    if facts["signal"] is not None:
        typer.echo(f"Stopped after step {facts['steps']}; {output} has the best epoch before, if one ended.", err=True)
        raise typer.Exit(SIGNALLED + facts["signal"])
    typer.echo(f"The extractor is in {output} after {facts['steps']} steps and {facts['seconds'] / 60:.1f} minutes.")
    typer.echo(f"It chooses {model.settings.sentences} of a document's sentences, where --sentences does not say.")
    if report:
        typer.echo(f"Look at it: {output / PAGE}")
    typer.echo(f"Use it:   conjoin extract {output} texts.txt")
    typer.echo(f"Score it: conjoin evaluate {output} --data {files[1] or 'test.jsonl'}")
    typer.echo(f"Join it:  conjoin train --encoder {output} --decoder ... --train {files[0]} --output ...")


def evaluate_extractive(
    model: str,
    data: str,
    columns: dict[str, str],
    split: str,
    limit: int | None,
    seed: int,
    as_json: str | None,
    *,
    refused: Mapping[str, Any],
) -> None:
    """Scores an extractor beside the first sentences and the oracle's; `as_json` is a file for all that was found.

    Raises InputError for settings of generation.
    """
    if refused:
        raise InputError(f'"{model}" chooses sentences and writes nothing; leave out {", ".join(refused)}.')
    from conjoin.evaluation import METRICS, Scores
    from conjoin.extraction import Extractor, evaluate_extractor, read_documents

    extractor = Extractor.from_pretrained(model)
    documents = read_documents(data, **columns, split=split, language=extractor.settings.language)
    documents = documents if limit is None else documents.first(limit)
    began = time.monotonic()
    found: dict[str, Scores] = evaluate_extractor(extractor, documents, seed=seed)
    if as_json is not None:
        facts: dict[str, Any] = {"model": model, "data": data, "sentences": extractor.settings.sentences, "seed": seed}
        document = json.dumps({**facts, **{name: scores.to_dict() for name, scores in found.items()}}, indent=2)
        with opened_output(as_json) as out:
            out.write(document.encode() + b"\n")
    if as_json == "-":
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("", "model", "first sentences", "oracle"):
        table.add_column(name, justify="right" if name else "left")
    for metric, title in METRICS.items():
        table.add_row(title, *(str(found[name].estimate(metric)) for name in ("model", "lead", "oracle")))
    Console(highlight=False).print(table)
    count, seconds = extractor.settings.sentences, time.monotonic() - began
    print(f"\n{len(documents)} documents, {count} sentence{'s' * (count > 1)} each, 95% intervals; {seconds:.0f} s.")
