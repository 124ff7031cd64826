"""The command line: one file a command, each imported when it is called, so that `conjoin --help` is there at once."""

import errno
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from conjoin import __version__
from conjoin.errors import ConjoinError, InputError, nearest, refuse_unknown

__all__ = ["COMMANDS", "main"]

# Each command, with what `conjoin --help` says of it; it is the function of the same name in the module of that name.
COMMANDS = {
    "demo": "Join, fine-tune, evaluate and generate on built-in data and weights.",
    "train": "Join an encoder and a decoder, and fine-tune them on pairs of texts.",
    "average": "Average the weights of several checkpoints of a run.",
    "evaluate": "Score a model on test pairs: ROUGE, BLEU, chrF, with intervals.",
    "distill": "Make a model's decoder shallower, and so faster: it learns from the model.",
    "generate": "Write a text for each line of a file or of standard input.",
    "serve": "Serve models over HTTP, with continuous batching.",
    "extract": "Choose the sentences that sum up each document of a file.",
    "bench": "Time a model's generation here, in each precision.",
    "export": "Write a model as ONNX graphs, or for transformers 5.",
    "inspect": "Say what a model is: sizes, tokens, and what a join would add.",
}
BROKEN_PIPE, MISTAKE, INTERRUPTED = 1, 2, 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WIDE = {"max_content_width": 110}  # of help, in a terminal that has so many columns
# typer's own errors for a wrong call, whichever library of commands it is built on.
UsageError: Any = typer.BadParameter.__mro__[1]


class Commands(typer.core.TyperGroup):
    """The commands whose module is there, none of them imported before it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the table."""
        return [name for name in COMMANDS if importlib.util.find_spec(f"conjoin.cli.{name}") is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What the list of commands needs of one: its name and its sentence."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return typer.core.TyperCommand(cmd_name, short_help=COMMANDS[cmd_name])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was called, imported now."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            raise InputError(f'there is no command "{args[0]}"{nearest(args[0], known)}; one of {", ".join(known)}.')
        name, found, rest = super().resolve_command(ctx, args)
        return name, None if found is None else imported(str(name)), rest


def imported(name: str) -> Any:
    """A command made of its function."""
    one = typer.Typer(add_completion=False, rich_markup_mode=None)
    one.command(name, context_settings=WIDE)(getattr(importlib.import_module(f"conjoin.cli.{name}"), name))
    return typer.main.get_command(one)


def show_version(wanted: bool) -> None:
    """Prints the version and ends."""
    if wanted:
        print(f"conjoin {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, context_settings=WIDE)


@app.callback()
def conjoin(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Joins any pretrained encoder with any pretrained decoder into one sequence-to-sequence model."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line, by default this process's, and returns its exit code.

    0 is success; 2 a mistake of the user's, with one sentence on standard error; 130 an interruption from the keyboard;
    1 that whoever read the output stopped reading.
    """
    given = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    threads_that_yield()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's errors, not what it has to say of itself
    try:
        code = typer.main.get_command(app).main(given, prog_name="conjoin", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to flush goes nowhere
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        return mistake(
            f"what was to be written does not fit: {error.strerror}; make room and give the same command again."
        )
    except UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "conjoin"
        said = " ".join(error.format_message().split())  # choices come one a line
        return mistake(f"{said.rstrip('.')}. See: {where} --help")
    except ConjoinError as error:
        return mistake(" ".join([str(error), *getattr(error, "__notes__", [])]))
    except (ImportError, TypeError) as error:
        if not is_for_users(error):
            raise
        return mistake(str(error))


def threads_that_yield() -> None:
    """Lets torch's threads spin at a barrier for microseconds only, unless the user says otherwise.

    Beside a busy neighbour spinning makes a step several times slower, and alone sleeping at once costs a tenth
    (docs/decisions.md). It must be said before torch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def mistake(sentence: str) -> int:
    """Says what the user can mend, and returns the exit code of that. Of several processes the first says it."""
    if os.environ.get("RANK", "0") == "0":
        print(f"conjoin: {sentence}", file=sys.stderr)
    return MISTAKE


def is_for_users(error: ImportError | TypeError) -> bool:
    """Whether an error is one of our sentences, not a defect: an extra that is missing, or a misspelt name."""
    if isinstance(error, ImportError):
        return error.name is None  # Python's own name the module
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is refuse_unknown.__code__
