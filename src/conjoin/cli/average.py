"""`conjoin average`: one model of several checkpoints of a run."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.errors import ConfigError

__all__ = ["average"]


def average(
    checkpoints: Annotated[list[str], typer.Argument(help="Checkpoints of one run: DIR/checkpoints/step-*.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the model.", show_default=False)],
) -> None:
    """Average the weights of checkpoints: a checkpoint and its neighbours often write better together than alone.

    A run keeps two checkpoints and the best; `conjoin train --set keep_checkpoints=5` keeps more. Whether the average is
    better says `conjoin evaluate`, which compares two models.
    """
    try:
        from conjoin.training.averaging import averaged
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError('averaging needs torch, which is not installed; run: pip install "conjoin[torch]".') from None
    if any(Path(one).resolve() == output.resolve() for one in checkpoints):
        raise ConfigError(f'--output is "{output}", one of the checkpoints; choose another folder.')
    averaged(checkpoints).save_pretrained(output)
    typer.echo(f"The average of {len(checkpoints)} checkpoints is in {output}.")
