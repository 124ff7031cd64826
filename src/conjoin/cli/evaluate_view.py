"""What `conjoin evaluate` found, as tables for a terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conjoin.evaluation import FACTS, METRICS, Difference, Estimate, Scores

__all__ = ["show"]

NAMES = METRICS | FACTS


def show(
    scores: Mapping[str, Scores],
    baseline: Scores,
    compared: Mapping[str, Mapping[str, Difference]],
    references: Mapping[str, float],
) -> None:
    """Prints one model's table, or one for each that is compared to the first."""
    console = Console(highlight=False)
    first = next(iter(scores))
    if not compared:
        console.print(alone(scores[first], baseline, references))
    for name, differences in compared.items():
        console.print(beside(scores, first, name, differences))
        console.print(f"A is {escape(first)}, B {escape(name)}.\n", soft_wrap=True)
    if compared:
        console.print(
            "Intervals of 95%, paired bootstrap; p of approximate randomisation; bold where p is below 0.05.",
            soft_wrap=True,
        )


def table(*columns: str) -> Table:
    """A table without lines; all columns but the first are numbers."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    found.add_column("")
    for name in columns:
        found.add_column(name, justify="right")
    return found


def alone(scores: Scores, baseline: Scores, references: Mapping[str, float]) -> Table:
    """One row a measure: the model's value and interval, the first sentence's, and what the references are like."""
    found = table("model", "95% interval", "first sentence", "95% interval", "reference")
    for name, title in NAMES.items():
        model, lead = scores.estimate(name), baseline.estimate(name)
        reference = number(name, references[name]) if name in references else ""
        cells = (f"[bold]{number(name, model.value)}[/]", span(name, model), number(name, lead.value), span(name, lead))
        found.add_row(title, *cells, reference)
    return found


def beside(scores: Mapping[str, Scores], first: str, second: str, differences: Mapping[str, Difference]) -> Table:
    """One row a measure: two models' values, the difference, its interval and p."""
    found = table("A", "B", "B - A", "95% interval", "p")
    for name, title in NAMES.items():
        one = differences[name]
        values = (number(name, scores[which].estimate(name).value) for which in (first, second))
        cells = (number(name, one.value, "+"), span(name, one, "+"), f"{one.p:.4f}")
        found.add_row(title, *values, *cells, style="bold" if one.p < 0.05 else None)
    return found


def number(name: str, value: float, sign: str = "") -> str:
    """A value with as many digits as tell something."""
    return f"{value:{sign}.{2 if name == 'length_ratio' else 1}f}"


def span(name: str, one: Estimate | Difference, sign: str = "") -> str:
    """An interval."""
    return f"{number(name, one.low, sign)} to {number(name, one.high, sign)}"
