"""`conjoin train`: joins an encoder and a decoder, or takes a joined model, and fine-tunes it on pairs of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conjoin.errors import ConfigError

if TYPE_CHECKING:
    from conjoin.torch import EncoderDecoderModel
    from conjoin.training import Recipe, Result

__all__ = ["train"]

SIGNALLED = 128  # what a shell adds to the number of the signal that ended a program


def option(text: str, *names: str) -> Any:
    """An option that shows no default of its own: the recipe's is said in the text."""
    return typer.Option(*names, help=text, show_default=False)


def train(
    train_file: Annotated[str, option("Pairs to learn from: a file, or a data set of the hub.", "--train")],
    output: Annotated[Path, option("The folder for the model.", "--output", "-o")],
    encoder: Annotated[str | None, option("A pretrained encoder: folder, GGUF file or hub id.")] = None,
    decoder: Annotated[str | None, option("A pretrained decoder: folder, GGUF file or hub id.")] = None,
    model: Annotated[
        str | None, option("A joined model to train further, in place of --encoder and --decoder.")
    ] = None,
    validation: Annotated[str | None, option("Pairs to choose the best checkpoint by.")] = None,
    source_column: Annotated[str, typer.Option(help="The column of sources.")] = "document",
    target_column: Annotated[str, typer.Option(help="The column of targets.")] = "summary",
    streaming: Annotated[
        bool, typer.Option("--streaming", help="Read --train as it is needed, where it is larger than memory.")
    ] = False,
    buffer: Annotated[
        int, typer.Option(help="Pairs in memory with --streaming, shuffled and batched together.")
    ] = 10000,
    train_split: Annotated[str, typer.Option(help="The split to learn from, of a data set.")] = "train",
    validation_split: Annotated[str, typer.Option(help="The split of --validation, of a data set.")] = "validation",
    recipe: Annotated[
        str,
        typer.Option(
            help="default, rothe, bertsum, cross_attention_first, cross_attention_only, lora, or a FILE.toml."
        ),
    ] = "default",
    setting: Annotated[
        list[str] | None,
        option("Any setting in place of the recipe's, KEY=VALUE, such as encoder.learning_rate=1e-4.", "--set"),
    ] = None,
    share: Annotated[str | None, option("What both sides share: none, embeddings or all (none).")] = None,
    cross_attention_init: Annotated[
        str | None, option("How new cross-attention starts: random, self_attention or zero_gate (self_attention).")
    ] = None,
    cross_attention_layers: Annotated[
        str, typer.Option(help="Which layers of the decoder have it: all, every_2, or numbers such as 0,3,5.")
    ] = "all",
    cross_attention_place: Annotated[
        str | None, option("after_self_attention, after_feed_forward or before_self_attention (the family's habit).")
    ] = None,
    extractive: Annotated[
        bool, typer.Option("--extractive", help="Train --encoder alone, to choose sentences: for `conjoin extract`.")
    ] = False,
    language: Annotated[str, typer.Option(help="Of --extractive: by whose rules texts are split.")] = "en",
    epochs: Annotated[int | None, option("Train so many times over the pairs (3 without any limit).")] = None,
    max_steps: Annotated[int | None, option("Train for so many steps.")] = None,
    minutes: Annotated[float | None, option("Train for so long, the schedule following the clock.")] = None,
    batch_size: Annotated[int | None, option("Examples in a batch (16).")] = None,
    batch_tokens: Annotated[int | None, option("Tokens in a batch, in place of --batch-size.")] = None,
    accumulate: Annotated[int | None, option("Batches in a step (1).")] = None,
    learning_rate: Annotated[float | None, option("Of pretrained weights (5e-4).")] = None,
    new_learning_rate: Annotated[float | None, option("Of what the join makes new (1e-3).")] = None,
    warmup_ratio: Annotated[float | None, option("The share of the run in which rates rise (0.1).")] = None,
    schedule: Annotated[str | None, option("linear, cosine, noam or constant (linear).")] = None,
    weight_decay: Annotated[float | None, option("Of weights that are not biases or norms (0.01).")] = None,
    label_smoothing: Annotated[float | None, option("From 0 to below 1 (0).")] = None,
    dropout: Annotated[float | None, option("In place of the models' own.")] = None,
    freeze: Annotated[
        list[str] | None, option("A part that is not trained, such as embeddings; may be repeated.")
    ] = None,
    start: Annotated[str | None, option("copy: new parts are first made ready to copy; or plain (copy).")] = None,
    precision: Annotated[str | None, option("auto, float32 or bfloat16 (auto).")] = None,
    device: Annotated[str | None, option("auto or cpu (auto: a GPU where there is one).")] = None,
    sharding: Annotated[
        str | None, option("Of several processes: none, a copy of the model in each, or fsdp, a part in each (none).")
    ] = None,
    max_source_length: Annotated[
        int | None, option("Tokens; longer sources are cut (the encoder's positions; none with --encode-in-chunks).")
    ] = None,
    encode_in_chunks: Annotated[
        bool, typer.Option("--encode-in-chunks", help="Read sources too long for the encoder in windows that overlap.")
    ] = False,
    max_target_length: Annotated[
        int | None, option("Tokens; longer targets are cut (the decoder's positions).")
    ] = None,
    evaluate_every: Annotated[int | None, option("Steps between evaluations (each epoch).")] = None,
    save_every: Annotated[int | None, option("Steps between checkpoints (each evaluation).")] = None,
    generation_examples: Annotated[int | None, option("Validation pairs to generate for; 0 for none (200).")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the output folder.")] = True,
    seed: Annotated[int | None, option("Of everything that is drawn (42).")] = None,
    report: Annotated[bool, typer.Option(help="Write report.html, with plots, into the output folder.")] = True,
    track: Annotated[
        str | None, option("Trackers, parted by commas: tensorboard, wandb, or another that Accelerate knows.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Join an encoder and a decoder, or take a joined model, and fine-tune it on pairs of texts.

    The best model by validation (the last, without --validation) is put into the output folder. A run that was
    interrupted goes on when the same command is given again.
    """
    given = {
        "join.share": share,
        "join.cross_attention_init": cross_attention_init,
        "epochs": epochs,
        "max_steps": max_steps,
        "minutes": minutes,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens,
        "gradient_accumulation_steps": accumulate,
        "learning_rate": learning_rate,
        "new_learning_rate": new_learning_rate,
        "warmup_ratio": warmup_ratio,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
        "dropout": dropout,
        "freeze": tuple(freeze) if freeze else None,
        "start": start,
        "precision": precision,
        "device": device,
        "sharding": sharding,
        "encode_in_chunks": encode_in_chunks or None,
        "max_source_length": max_source_length,
        "max_target_length": max_target_length,
        "evaluate_every": evaluate_every,
        "save_every": save_every,
        "generation_examples": generation_examples,
        "seed": seed,
    }
    from conjoin.training import Pairs, PairStream, Recipe, read_pairs, stream_pairs
    from conjoin.training.recipes import parsed

    changes = {name: value for name, value in given.items() if value is not None}
    overridden = {**changes, **dict(parsed(one) for one in setting or [])}
    resolved = Recipe.load(recipe, overridden)
    columns = {"source_column": source_column, "target_column": target_column}
    places = {"cross_attention_layers": cross_attention_layers != "all", "cross_attention_place": cross_attention_place}
    crossed = [name for name, given in places.items() if given]
    if extractive:
        from conjoin.cli.extractive import refuse_unheeded, train_extractive

        if streaming:
            raise ConfigError("--streaming is for joins; --extractive reads all documents first, so leave it out.")

        alone = only_encoder(encoder, decoder, model)
        if track is not None:
            raise ConfigError(
                "--track is for joined models; those of --extractive are in report.html and training.json."
            )
        refuse_unheeded([*overridden, *crossed])
        files, splits = (train_file, validation), (train_split, validation_split)
        shown = {"report": report, "quiet": quiet}
        train_extractive(alone, files, splits, columns, resolved, output, language=language, **shown)
        return
    born = [name for name in ("share", "cross_attention_init") if f"join.{name}" in overridden]
    check_parts(encoder, decoder, model, output, [*born, *crossed])
    from conjoin.training import train as run
    from conjoin.training.agreeing import together
    from conjoin.training.distributing import one_accelerator
    from conjoin.training.evaluate import text_scores

    crossing = {
        "cross_attention_layers": layer_numbers(cross_attention_layers),
        "cross_attention_place": cross_attention_place,
    }
    with together(one_accelerator(resolved)):
        pairs: Pairs | PairStream
        if streaming:
            pairs = stream_pairs(train_file, **columns, split=train_split, buffer=buffer)
        else:
            pairs = read_pairs(train_file, **columns, split=train_split)
        held_out = None if validation is None else read_pairs(validation, **columns, split=validation_split)
        joined = opened(encoder, decoder, model, crossing, resolved)
    result = run(
        joined,
        pairs,
        held_out,
        resolved,
        output,
        resume=resume,
        evaluate_generation=text_scores,
        report=report,
        track=[name.strip() for name in track.split(",")] if track else (),
        quiet=quiet,
    )
    conclude(result, output, validation)


def only_encoder(encoder: str | None, decoder: str | None, model: str | None) -> str:
    """The encoder of an extractor. Raises ConfigError where it is not named, or more is."""
    if encoder is None or decoder is not None or model is not None:
        raise ConfigError(
            "--extractive trains an encoder alone; --encoder, and neither --decoder nor --model, was expected."
        )
    return encoder


def check_parts(
    encoder: str | None, decoder: str | None, model: str | None, output: Path, of_a_join: Sequence[str]
) -> None:
    """Raises ConfigError unless a joined model, or both parts of one, were named; `of_a_join` are options for parts alone."""
    if (model is None) == (encoder is None and decoder is None):
        raise ConfigError("name --encoder and --decoder, or --model for a joined model; one of the two was expected.")
    if model is None and (encoder is None or decoder is None):
        raise ConfigError(f"--{'encoder' if encoder is None else 'decoder'} is missing; a join needs both sides.")
    for name, part in (("model", model), ("encoder", encoder), ("decoder", decoder)):
        if part is not None and Path(part).resolve() == output.resolve():
            raise ConfigError(
                f'--output is the folder of --{name}, "{part}"; choose another, so that a run can be resumed.'
            )
    if model is not None and of_a_join:
        raise ConfigError(
            f"--{of_a_join[0].replace('_', '-')} says how parts are joined, and --model is joined already; leave it out."
        )


def opened(
    encoder: str | None,
    decoder: str | None,
    model: str | None,
    crossing: Mapping[str, Any],
    recipe: "Recipe",
) -> "EncoderDecoderModel":
    """The model to train, the same for the same seed."""
    from conjoin.torch import EncoderDecoderModel
    from conjoin.training.randomness import seed_all

    if model is not None:
        return EncoderDecoderModel.from_pretrained(model)
    seed_all(recipe.seed)
    return EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder, **asdict(recipe.join), **crossing)


def layer_numbers(given: str) -> str | list[int]:
    """What --cross-attention-layers says: a word, or numbers parted by commas."""
    numbers = [one.strip() for one in given.split(",")]
    return [int(one) for one in numbers] if all(one.isdecimal() for one in numbers) else given


def conclude(result: "Result", output: Path, validation: str | None) -> None:
    """Says where the model is and how to use it; after a signal, how to go on."""
    from accelerate import PartialState

    from conjoin.training.report import PAGE

    first = PartialState().is_main_process
    PartialState().destroy_process_group()  # a process that ends with its threads at work may abort
    if result.path is None:
        if first:
            typer.echo(f"Stopped after step {result.steps}; the same command goes on from {result.newest}.", err=True)
        raise typer.Exit(SIGNALLED + (result.signal or 0))
    if not first:
        return
    typer.echo(f"The model is in {output} after {result.steps} steps and {result.seconds / 60:.1f} minutes.")
    if result.best is not None:
        typer.echo(f"Best by {result.best['metric']}: {result.best['value']:.4g}, after step {result.best['step']}.")
    if (output / PAGE).is_file():
        typer.echo(f"Look at it: {output / PAGE}")
    typer.echo(f"Use it:   echo 'a text' | conjoin generate {output} -")
    typer.echo(f"Score it: conjoin evaluate {output} --data {validation or 'test.jsonl'}")
