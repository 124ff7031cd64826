"""What `conjoin inspect` found, as a page for a terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conjoin.checkpoint import NARROW

__all__ = ["show"]

COLUMNS = ("family", "layers", "width", "heads", "ffn", "positions", "vocabulary")
PARTS = ("encoder", "decoder", "projection")
WITHIN = {"embeddings": "embeddings", "cross_attention": "cross-attention", "head": "head"}
SHARED = {
    "none": "nothing",
    "embeddings": "the token embedding",
    "all": "all weights but cross-attention and head",
}


def show(found: dict[str, Any]) -> None:
    """Prints the page."""
    console = Console(highlight=False)
    print_title(console, found)
    print_sizes(console, found)
    if found["joined"]:
        print_parameters(console, found["parameters"], found["share"])
        print_special_tokens(console, found["special_tokens"])
        heading(console, "Generation")
        said = ", ".join(f"{k}={v}" for k, v in found["generation"].items())
        console.print(f"  {escape(said) or 'nothing set: greedy search'}")
    else:
        print_new(console, found)
    print_tokenizers(console, found["tokenizers"])
    print_files(console, found["files"])


def heading(console: Console, text: str) -> None:
    """A line above a part of the page."""
    console.print(f"\n[bold]{text}[/]")


def grid(*justify: str) -> Table:
    """A table without lines, set in from the left."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", width=0)
    for one in justify:
        table.add_column(justify=one)  # type: ignore[arg-type]
    return table


def print_title(console: Console, found: dict[str, Any]) -> None:
    """The name, what it is, how big, and in which number type."""
    if found["joined"]:
        kind = f"a joined model: {found['encoder']['family']} to {found['decoder']['family']}"
    else:
        kind = f"a single model: {found['model_type']}"
    total = found["parameters"].get("total")
    size = f", {amount(total)} parameters" if total else ", weights not looked at"
    types = [n for n in found["dtypes"] if "float" in n or "Q" in n or n in NARROW]  # quantised: Q4_1, IQ4_NL
    named = f", {' and '.join(types)}" if types else ""
    console.print(f"[bold]{escape(found['name'])}[/]", soft_wrap=True)
    console.print(f"{kind}{size}{named}")


def print_sizes(console: Console, found: dict[str, Any]) -> None:
    """One row a side; a single model has the same sizes on both."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "family" else "right")
    able = [role for role in ("encoder", "decoder") if "cannot" not in found[role]]
    for role in able:
        table.add_row(f"as {role}" if not found["joined"] else role, *(known(found[role][name]) for name in COLUMNS))
    heading(console, "Sizes")
    console.print(table)


def known(value: object) -> str:
    """A size, or nothing where it is not known."""
    return "" if value is None else str(value)


def print_parameters(console: Console, parameters: dict[str, int], share: str) -> None:
    """How many parameters there are in each part, and what the two sides share."""
    heading(console, "Parameters")
    if parameters:
        table = grid("left", "right")
        for name in PARTS:
            if parameters[name]:
                table.add_row("", name, amount(parameters[name]))
        table.add_row("", "all", amount(parameters["total"]))
        for name, text in WITHIN.items():
            if parameters[name]:
                table.add_row("", f"[dim]of all, {text}[/]", f"[dim]{amount(parameters[name])}[/]")
        console.print(table)
    console.print(f"  the two sides share {SHARED[share]}")


def print_special_tokens(console: Console, tokens: dict[str, Any]) -> None:
    """Each special token's id and string."""
    heading(console, "Special tokens")
    table = grid("left", "right", "left")
    for name, one in tokens.items():
        ids = ", ".join(map(str, one["ids"])) or "not set"
        table.add_row("", name, ids, escape(" ".join(map(str, one["tokens"]))))
    console.print(table)


def print_new(console: Console, found: dict[str, Any]) -> None:
    """What a join would have to make up on either side."""
    heading(console, "In a join")
    table = grid("left", "left")
    for role in ("encoder", "decoder"):
        side = found[role]
        if "cannot" in side:
            table.add_row("", f"as {role}", "it cannot be one")
            continue
        new = ", ".join(f"{WITHIN[kind]} ({amount(count)} parameters)" for kind, count in side["new"].items())
        table.add_row("", f"as {role}", f"new: {new}" if new else "nothing new")
    width = found["decoder" if "width" in found["decoder"] else "encoder"]["width"]
    table.add_row("", "projection", f"new, where the other side's width is not {width}")
    console.print(table)


def print_tokenizers(console: Console, pair: dict[str, Any]) -> None:
    """The source and the target tokenizer."""
    heading(console, "Tokenizers")
    if not pair:
        console.print("  none in the folder")
        return
    table = grid("left", "left", "right")
    for side, one in pair.items():
        name = "both sides" if list(pair) == ["source"] else side
        table.add_row("", name, one["class"], f"{one['vocabulary']:,} tokens")
    console.print(table)


def print_files(console: Console, files: dict[str, int]) -> None:
    """The files and their sizes."""
    if not files:
        return
    heading(console, "Files")
    table = grid("left", "right")
    for name, size in files.items():
        table.add_row("", escape(name), bytes_of(size))
    table.add_row("", "all", bytes_of(sum(files.values())))
    console.print(table)


def amount(count: int) -> str:
    """A number of parameters, in thousands or millions where there are many."""
    if count >= 1_000_000:
        return f"{count / 1e6:,.1f} M"
    return f"{count / 1e3:.1f} k" if count >= 10_000 else f"{count:,}"


def bytes_of(size: int) -> str:
    """A number of bytes, in units of a thousand."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
