"""Options that several commands have, so that they are the same everywhere."""

from typing import Annotated, Any, Literal

import typer

__all__ = [
    "BackendName",
    "BatchSize",
    "DType",
    "Device",
    "InChunks",
    "LengthPenalty",
    "MaxBatchTokens",
    "MaxNewTokens",
    "MinNewTokens",
    "Model",
    "NoRepeat",
    "NumBeams",
    "Repetition",
    "Truncate",
    "device_name",
    "writing_options",
]

Model = Annotated[
    str, typer.Argument(metavar="DIR", help="A folder of a joined model, or its hub id.", show_default=False)
]
NumBeams = Annotated[
    int | None, typer.Option(help="Beams; 1 is greedy search. [default: the model's]", show_default=False)
]
MaxNewTokens = Annotated[
    int | None, typer.Option(help="Most tokens to write. [default: the model's, or 256]", show_default=False)
]
MinNewTokens = Annotated[int | None, typer.Option(help="Least tokens to write.", show_default=False)]
LengthPenalty = Annotated[
    float | None, typer.Option(help="Of beams: above 0 favours long texts, below 0 short ones.", show_default=False)
]
NoRepeat = Annotated[
    int | None, typer.Option("--no-repeat-ngram-size", help="No n tokens in a row come twice.", show_default=False)
]
Repetition = Annotated[
    float | None,
    typer.Option("--repetition-penalty", help="Above 1: tokens already written lose.", show_default=False),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help="Texts at once. [default: as many as --max-batch-tokens allows]", show_default=False),
]
MaxBatchTokens = Annotated[
    int | None,
    typer.Option(help="Tokens of sources at once, padding included. [default: 2048]", show_default=False),
]
Truncate = Annotated[
    bool,
    typer.Option("--truncate/--no-truncate", help="Drop the end of a source too long for the encoder, or stop there."),
]
InChunks = Annotated[
    bool | None,
    typer.Option(
        "--encode-in-chunks/--no-encode-in-chunks",
        help="Read a source too long for the encoder in windows that overlap. [default: the model's]",
        show_default=False,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help='"cpu", "cuda", "cuda:1", or a number. [default: the GPU where there is one]', show_default=False
    ),
]
DType = Annotated[
    str | None,
    typer.Option(
        help='"float32", "bfloat16", "float16", "int8", "int8_weight_only", or "int4_weight_only". [default: the file\'s]',
        show_default=False,
    ),
]


BackendName = Annotated[
    Literal["torch", "jax", "tensorflow", "onnx"],
    typer.Option("--backend", help="What to run in; all write the same. A folder of ONNX graphs is known as such."),
]


def device_name(device: str | None) -> str | int | None:
    """A device as `pipeline` takes it: a number where it is one."""
    return int(device) if device is not None and device.removeprefix("-").isdecimal() else device


def writing_options(
    batch_size: int | None,
    max_batch_tokens: int | None,
    truncate: bool,
    device: str | None,
    dtype: str | None,
    backend: str,
) -> dict[str, Any]:
    """What a pipeline is opened and called with, beside settings of generation."""
    return {
        "batch_size": batch_size,
        "max_batch_tokens": max_batch_tokens,
        "truncation": truncate,
        "device": device_name(device),
        "dtype": dtype,
        "backend": backend,
    }
