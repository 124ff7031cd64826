"""`conjoin export`: a model in another form, as ONNX graphs, as a folder that transformers 5 opens, or in another type."""

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
        Literal["conjoin", "onnx", "transformers"],
        typer.Option(
            help="onnx: three graphs, config and tokenizers, which ONNX Runtime and `conjoin generate` run without "
            "PyTorch. transformers: a folder that transformers 5 opens, in which shared weights stand twice. conjoin: a "
            "folder like DIR in --dtype, which loads as that at once."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="The folder, whole or not at all.")],
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of onnx: float32, or int8, which has a third of the size and is not quite the same model [default: float32]. "
            "Of conjoin: any type, as int8 or int4_weight_only.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the model of DIR in another form.

    A folder of graphs is a model like another one: `conjoin generate OUT`, `pipeline("OUT")`.
    """
    check_type(to, dtype)
    if Path(output).resolve() == Path(model).resolve():
        raise InputError(f'--output is the folder of the model, "{model}"; another one was expected.')
    found = opened(model, dtype if to == "conjoin" else None)
    if to == "onnx":
        from conjoin.onnx.export import export_onnx

        export_onnx(found, output, dtype=dtype or "float32")  # type: ignore[arg-type]  # which it checks
    else:
        found.save_pretrained(output, duplicate_shared=to == "transformers")
    print(f'"{output}" has {round(size(Path(output)) / 1e6)} MB.', file=sys.stderr)


def check_type(to: str, dtype: str | None) -> None:
    """Raises InputError for a type where there is none to choose, or none where one is the point."""
    if to == "transformers" and dtype is not None:
        raise InputError("--dtype is of --to onnx and --to conjoin; --to transformers keeps the model's own.")
    if to == "conjoin" and dtype is None:
        raise InputError(
            "--to conjoin writes the model in another type; add --dtype, as --dtype int8 or int4_weight_only."
        )


def opened(model: str, dtype: str | None) -> "EncoderDecoderModel":
    """The model, in PyTorch. Raises InputError for a folder of graphs, which are the end of the way."""
    from conjoin import EncoderDecoderModel
    from conjoin.onnx.layout import is_exported

    if is_exported(Path(model)):
        raise InputError(f'"{model}" is exported already; give the folder that it was exported from.')
    return EncoderDecoderModel.from_pretrained(model, dtype=dtype)


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
