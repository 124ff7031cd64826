"""`conjoin bench`: how fast a model generates on this machine, and whether other precisions write the same."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from conjoin.cli.options import Model

__all__ = ["bench"]


def bench(
    model: Model,
    batch: Annotated[int, typer.Option(help="Sources at once.")] = 8,
    source_tokens: Annotated[int, typer.Option(help="Tokens of each source.")] = 128,
    new_tokens: Annotated[int, typer.Option(help="Tokens to write for each.")] = 64,
    num_beams: Annotated[int, typer.Option(help="Beams; 1 is greedy search.")] = 4,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            help="A precision; may be given several times. [default: float32, bfloat16, int8]", show_default=False
        ),
    ] = None,
    runs: Annotated[int, typer.Option(help="Turns, in which engines alternate.")] = 3,
    plot: Annotated[str | None, typer.Option(help="Also draw the speeds, as a PNG file.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each engine.")] = False,
) -> None:
    """Time a model's generation in each precision, beside transformers where it is installed and opens the folder.

    Sources are random ids and every output has the same length, so that all engines do the same work. CTranslate2 loads no such
    model; benchmarks/decoding.py times it on one of equal sizes.
    """
    import torch

    from conjoin.benching import Shape, engines_for
    from conjoin.benching import bench as measured
    from conjoin.composite import EncoderDecoderConfig
    from conjoin.plotting import Panel, check_plot, plot_speeds

    if plot is not None:
        check_plot(plot)
    vocab = EncoderDecoderConfig.from_pretrained(model).encoder.vocab_size
    engines = engines_for(model, dtype or ("float32", "bfloat16", "int8"))
    shape = Shape(batch, source_tokens, new_tokens, num_beams)
    rows = measured(engines, shape, vocab, runs)
    title = f"{batch} x {source_tokens} tokens, {new_tokens} new, beams {num_beams}; {torch.get_num_threads()} threads"
    if plot is not None:
        plot_speeds([Panel(title, {"": {row.engine: row.tokens_per_second for row in rows}})], plot)
    if as_json:
        for row in rows:
            print(json.dumps({**asdict(shape), "threads": torch.get_num_threads(), **asdict(row)}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "ms a step", "tokens/s", "first token, ms", "same tokens", "x transformers", title=title)
    for row in rows:
        times = (
            ""
            if row.ratio is None or row.spread is None
            else f"{row.ratio:.2f} ({row.spread[0]:.2f}-{row.spread[1]:.2f})"
        )
        speed = f"{row.ms_per_step:.2f}", f"{row.tokens_per_second:.0f}", f"{row.first_token_ms:.0f}"
        table.add_row(row.engine, *speed, f"{row.agreement:.0%}", times)
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110).print(table)
