"""`conjoin distill`: a joined model with fewer layers in its decoder, which learns from the pairs or from the model itself."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from conjoin.cli.bars import bar
from conjoin.cli.train import conclude, option
from conjoin.errors import ConfigError

__all__ = ["distill"]


def distill(
    teacher: Annotated[
        str, typer.Argument(metavar="TEACHER", help="A folder of a joined model, or its hub id.", show_default=False)
    ],
    train_file: Annotated[str, option("Pairs to learn from: a file, or a data set of the hub.", "--train")],
    output: Annotated[Path, option("The folder for the student.", "--output", "-o")],
    decoder_layers: Annotated[int | None, option("Keep so many of the decoder's layers, evenly spaced.")] = None,
    keep_layers: Annotated[str | None, option("Keep these, in place of a number: 0,2.")] = None,
    targets: Annotated[
        Literal["teacher", "pairs", "both"],
        typer.Option(help="Learn from what the teacher writes, from the pairs' own targets, or from both."),
    ] = "teacher",
    num_beams: Annotated[int | None, option("Of the teacher's texts (the teacher's own).")] = None,
    validation: Annotated[str | None, option("Pairs to choose the best checkpoint by.")] = None,
    source_column: Annotated[str, typer.Option(help="The column of sources.")] = "document",
    target_column: Annotated[str, typer.Option(help="The column of targets.")] = "summary",
    train_split: Annotated[str, typer.Option(help="The split to learn from, of a data set.")] = "train",
    validation_split: Annotated[str, typer.Option(help="The split of --validation, of a data set.")] = "validation",
    epochs: Annotated[int | None, option("Train so many times over the pairs (3 without any limit).")] = None,
    max_steps: Annotated[int | None, option("Train for so many steps.")] = None,
    minutes: Annotated[float | None, option("Train for so long, the schedule following the clock.")] = None,
    batch_size: Annotated[int | None, option("Examples in a batch (16).")] = None,
    learning_rate: Annotated[float | None, option("Of all weights (5e-4).")] = None,
    freeze: Annotated[list[str] | None, option("A part that is not trained, such as encoder; may be repeated.")] = None,
    max_source_length: Annotated[
        int | None, option("Tokens; longer sources are cut (the encoder's positions).")
    ] = None,
    max_target_length: Annotated[
        int | None, option("Tokens; longer targets are cut (the decoder's positions).")
    ] = None,
    precision: Annotated[str | None, option("auto, float32 or bfloat16 (auto).")] = None,
    device: Annotated[str | None, option("auto or cpu (auto: a GPU where there is one).")] = None,
    report: Annotated[bool, typer.Option(help="Write report.html, with plots, into the output folder.")] = True,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the output folder.")] = True,
    seed: Annotated[int | None, option("Of everything that is drawn (42).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Distil a joined model into one with a shallower decoder, which writes faster.

    The student begins with some of the teacher's layers and is fine-tuned, by default on what the teacher writes of the
    training sources. Those texts are kept in the output folder (teacher-*.jsonl), and written once; a run that was
    interrupted, there or later, goes on when the same command is given again.
    """
    given = {
        "epochs": epochs,
        "max_steps": max_steps,
        "minutes": minutes,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "freeze": tuple(freeze) if freeze else None,
        "max_source_length": max_source_length,
        "max_target_length": max_target_length,
        "precision": precision,
        "device": device,
        "seed": seed,
    }
    if (decoder_layers is None) == (keep_layers is None):
        raise ConfigError("name --decoder-layers, or --keep-layers; one of the two was expected.")
    if Path(teacher).resolve() == output.resolve():
        raise ConfigError(f'--output is the folder of the teacher, "{teacher}"; choose another.')
    from conjoin.training import Recipe, read_pairs

    recipe = Recipe.from_dict({name: value for name, value in given.items() if value is not None})
    columns = {"source_column": source_column, "target_column": target_column}
    pairs = read_pairs(train_file, **columns, split=train_split)
    held_out = None if validation is None else read_pairs(validation, **columns, split=validation_split)

    from conjoin.torch import EncoderDecoderModel
    from conjoin.training import train
    from conjoin.training.distilling import taught
    from conjoin.training.evaluate import text_scores
    from conjoin.training.shrinking import shrunk, spread

    model = EncoderDecoderModel.from_pretrained(teacher)
    kept = numbers(keep_layers) if decoder_layers is None else spread(decoder_layers, model.decoder.spec.layers)
    student = shrunk(model, kept)
    settings = {} if num_beams is None else {"num_beams": num_beams}
    shown = bar("Teacher", len(pairs), "texts") if not quiet and sys.stderr.isatty() else nullcontext(None)
    with shown as progress:
        lessons = taught(model, pairs, targets, output, progress=progress, **settings)
    result = train(
        student,
        lessons,
        held_out,
        recipe,
        output,
        resume=resume,
        evaluate_generation=text_scores,
        report=report,
        about={"layers of the teacher": ",".join(map(str, kept))},
        quiet=quiet,
    )
    conclude(result, output, validation)


def numbers(given: str | None) -> list[int]:
    """Layers parted by commas. Raises ConfigError for anything else."""
    found = (given or "").split(",")
    if not all(one.strip().isdecimal() for one in found):
        raise ConfigError(f'--keep-layers is "{given}"; numbers parted by commas were expected, such as 0,2.')
    return [int(one) for one in found]
