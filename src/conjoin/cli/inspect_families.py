"""Which families there are and what each can be, from the families themselves: for `conjoin inspect` and the docs."""

import re
from dataclasses import astuple, dataclass

from rich.console import Console
from rich.table import Table

from conjoin.composite import part_config
from conjoin.families import FAMILIES, spec_of
from conjoin.senses import Frames, Patches, Waves
from conjoin.spec import Family, KeyDistances, Local, RoleName, StackSpec

__all__ = ["Listed", "families_page", "listed", "show_families"]

READS = {Patches: "images", Waves: "sounds", Frames: "sounds"}
CROSSES = {"trained": "trained", "known": "new", "new": "added"}


@dataclass(frozen=True)
class Listed:
    """What is said of a family; "" where it cannot be that side."""

    model_type: str
    encoder: str  # what it reads
    decoder: str  # where its cross-attention comes from
    positions: str
    attention: str
    block: str
    config: str


HEAD = ("model_type", "encoder", "decoder", "positions", "attention", "block", "config")
SHOWN = 5  # columns that a terminal has room for
LEGEND = (
    "A decoder's cross-attention is trained (in its own checkpoints), new (made by a join, under transformers' names), or "
    "added (made by a join, where transformers has none)."
)


def listed() -> list[Listed]:
    """Every family, by name."""
    return [line(FAMILIES[name]) for name in sorted(FAMILIES)]


def line(family: Family) -> Listed:
    """What is said of one, with the sizes that its config has by default."""
    role: RoleName = "decoder" if family.encoder is None else "encoder"
    spec = spec_of(part_config(family.config(), role), role)
    return Listed(
        family.model_type,
        "" if family.encoder is None else reads(spec),
        "" if family.decoder is None else CROSSES[family.decoder.crosses],
        positions(spec),
        attention(spec),
        block(spec),
        family.config.__name__,
    )


def reads(spec: StackSpec) -> str:
    """What an encoder reads where that is no text, or how it reads a text."""
    return READS[type(spec.front)] if spec.front is not None else "causal" if spec.causal else "yes"


def positions(spec: StackSpec) -> str:
    """How a stack tells places apart."""
    found = []
    if spec.positions:
        found.append("sinusoidal" if spec.sinusoidal else "learned")
    if any(one is not None for one in spec.rotary):
        found.append("rotary")
    if isinstance(spec.front, Waves):
        found.append("convolution")
    if spec.relative is not None or spec.window is not None or isinstance(spec.attention, Local | KeyDistances):
        found.append("relative")
    if spec.alibi:
        found.append("ALiBi")
    return " and ".join(found) or "none"


def attention(spec: StackSpec) -> str:
    """What is unlike plain multi-head attention."""
    found = ["grouped"] if spec.key_heads != spec.heads else []
    if spec.query_key_norm:
        found.append("normed")
    if any(reach is not None for reach in spec.reaches):
        found.append("windows")
    if spec.score_cap:
        found.append("capped")
    if spec.attention is not None:
        found.append(re.sub(r"(?<!^)(?=[A-Z])", " ", type(spec.attention).__name__).lower())
    return ", ".join(found) or "full"


def block(spec: StackSpec) -> str:
    """Norms and feed-forward."""
    kind = "RMS" if spec.norm == "rms" else "layer"
    shape = "parallel" if spec.parallel else spec.norms
    return f"{shape}-norm ({kind})" + (", gated" if spec.gated else "") + (", shared" if spec.blocks else "")


def families_page() -> str:
    """The table of docs/families.md."""
    rows = [[one or "-" for one in astuple(family)] for family in listed()]
    lines = ["| " + " | ".join(row) + " |" for row in (HEAD, ["---"] * len(HEAD), *rows)]
    return "\n".join(lines) + "\n"


def show_families() -> None:
    """The same for a terminal."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEAD[:SHOWN]:
        table.add_column(name, no_wrap=name == "model_type")
    for family in listed():
        table.add_row(*astuple(family)[:SHOWN])
    console.print(table)
    console.print(f"\n{LEGEND}\n`conjoin inspect DIR` says what a model would be in a join.")
