"""`conjoin generate`: a text for each line of a file or of standard input, in order, in constant memory."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from conjoin.bulk.cluster import Cluster, answered_by_cluster
from conjoin.bulk.running import answered
from conjoin.bulk.sources import Form, Source
from conjoin.bulk.windows import Job
from conjoin.cli.bars import bulk_bar
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
    Model,
    NoRepeat,
    NumBeams,
    Repetition,
    Truncate,
    writing_options,
)
from conjoin.errors import InputError

__all__ = ["generate"]


def generate(
    model: Model,
    file: Annotated[
        str,
        typer.Argument(metavar="[FILE|-]", help="Text, .jsonl, .json (or .gz of them), .parquet; - is standard input."),
    ] = "-",
    output: Annotated[
        str, typer.Option("--output", "-o", help="A file that appears when all is done; - is standard output.")
    ] = "-",
    form: Annotated[
        Form,
        typer.Option("--format", help="auto: by the file's name; JSON lines where standard input begins with {."),
    ] = "auto",
    source_column: Annotated[str, typer.Option(help="JSON lines, Parquet: the field to read.")] = "document",
    output_column: Annotated[str, typer.Option(help="JSON lines, Parquet: the field to add.")] = "generated",
    num_beams: NumBeams = None,
    max_new_tokens: MaxNewTokens = None,
    min_new_tokens: MinNewTokens = None,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    repetition_penalty: Repetition = None,
    do_sample: Annotated[bool, typer.Option("--do-sample", help="Draw tokens at random.")] = False,
    temperature: Annotated[
        float | None, typer.Option(help="Of sampling: below 1 is safer, above 1 bolder.", show_default=False)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Of sampling: only the k likeliest tokens.", show_default=False)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Of sampling: only the likeliest tokens of so much probability.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling: the same again.", show_default=False)] = None,
    skip_empty: Annotated[bool, typer.Option("--skip-empty", help="Answer an empty line with an empty line.")] = False,
    batch_size: BatchSize = None,
    max_batch_tokens: MaxBatchTokens = None,
    truncate: Truncate = False,
    encode_in_chunks: InChunks = None,
    device: Device = None,
    dtype: DType = None,
    backend: BackendName = "torch",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local",
            help="Share the work among the machines of a Ray cluster; --output is a folder then, and FILE may be one.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --ray: models at once. [default: all that fit]", show_default=False)
    ] = None,
    worker_cpus: Annotated[
        int | None, typer.Option(min=1, help="With --ray: processors of each worker. [default: 1]", show_default=False)
    ] = None,
) -> None:
    """Write a text for each line of FILE, or of standard input.

    Lines come out in the order in which they went in. JSON lines and rows of Parquet keep their fields and get one more.
    From a file to a file, a run that was interrupted or killed goes on when the same command is given again.
    """
    settings = {
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "length_penalty": length_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "encode_in_chunks": encode_in_chunks,
        "do_sample": do_sample or None,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    for name, value in (("workers", workers), ("worker-cpus", worker_cpus)):
        if ray is None and value is not None:
            raise InputError(f"--{name} is of a Ray cluster; add --ray local for one on this machine, or leave it out.")
    given = {name: value for name, value in settings.items() if value is not None}
    typed = file == "-" and sys.stdin.isatty()
    options = writing_options(batch_size, max_batch_tokens, truncate, device, dtype, backend)
    source = Source(
        file=file,
        form=form,
        source_column=source_column,
        output_column=output_column,
        skip_empty=skip_empty or typed,
    )
    job = Job(model, given, options)
    if ray is not None:
        cluster = Cluster(ray, workers, worker_cpus or 1, gpus=int(str(device).startswith("cuda")))
        answered_by_cluster(job, source, output, bulk_bar, cluster)
    else:
        answered(job, source, output, typing if typed else bulk_bar, typed=typed)


@contextmanager
def typing(size: int | None) -> Iterator[Callable[[int, int], None]]:
    """What whoever types sees in place of a bar."""
    print("Type a text and press Enter; Ctrl-D ends.", file=sys.stderr)
    yield lambda at, count: None
