"""`conjoin export`: a model in another form, as ONNX graphs or as a folder that transformers 5 opens."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from conjoin.cli.options import Model
from conjoin.errors import InputError

if TYPE_CHECKING:
    from conjoin import EncoderDecoderModel

__all__ = ["export"]


def export(
    model: Model,
    to: Annotated[
        Literal["onnx", "transformers"],
        typer.Option(
            help="onnx: three graphs, config and tokenizers, which ONNX Runtime and `conjoin generate` run without "
            "PyTorch. transformers: a folder that transformers 5 opens, in which shared weights stand twice."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="The folder, whole or not at all.")],
    dtype: Annotated[
        Literal["float32", "int8"] | None,
        typer.Option(
            help="Of onnx: int8 has a third of the size, and is not quite the same model. [default: float32]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the model of DIR in another form.

    A folder of graphs is a model like another one: `conjoin generate OUT`, `pipeline("OUT")`.
    """
    if dtype is not None and to != "onnx":
        raise InputError(f"--dtype is of --to onnx; --to {to} keeps the model's own.")
    if Path(output).resolve() == Path(model).resolve():
        raise InputError(f'--output is the folder of the model, "{model}"; another one was expected.')
    found = opened(model)
    if to == "onnx":
        from conjoin.onnx.export import export_onnx

        export_onnx(found, output, dtype=dtype or "float32")
    else:
        found.save_pretrained(output, duplicate_shared=True)
    print(f'"{output}" has {round(size(Path(output)) / 1e6)} MB.', file=sys.stderr)


def opened(model: str) -> "EncoderDecoderModel":
    """The model, in PyTorch. Raises InputError for a folder of graphs, which are the end of the way."""
    from conjoin import EncoderDecoderModel
    from conjoin.onnx.layout import is_exported

    if is_exported(Path(model)):
        raise InputError(f'"{model}" is exported already; give the folder that it was exported from.')
    return EncoderDecoderModel.from_pretrained(model)


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
