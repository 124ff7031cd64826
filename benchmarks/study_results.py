"""Results of the study: JSON lines in and out, means with intervals over seeds and documents, tables, a plot."""

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "Run", "difference", "interval", "of_system", "plot", "read", "replaced", "table", "write_line"]

RESAMPLES, TAILS = 2000, (2.5, 97.5)
METRICS = ("rouge1", "rouge2", "rougeL")
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"


@dataclass(frozen=True)
class Run:
    """One trained model: what it was, how many examples it saw, its loss, and ROUGE (0 to 100) of each test document."""

    table: str
    system: str
    seed: int
    examples: int
    cpu_seconds: float
    loss: float | None  # on validation pairs; None of an average
    rouge1: list[float]
    rouge2: list[float]
    rougeL: list[float]  # noqa: N815 - the name that everybody has for it


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% interval."""

    value: float
    low: float
    high: float


def read(path: Path) -> list[Run]:
    """The runs of a file; none where it is not there."""
    return [Run(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def write_line(path: Path, run: Run) -> None:
    """Adds a run to a file."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(run), separators=(",", ":")) + "\n")


def of_system(runs: Sequence[Run], table: str, system: str) -> list[Run]:
    """The runs of one system, a seed each."""
    return [run for run in runs if (run.table, run.system) == (table, system)]


def drawn(runs: Sequence[Run], metric: str, random: np.random.Generator, documents: NDArray[np.int64]) -> NDArray:
    """The mean (resamples,) over seeds drawn again and over `documents` (resamples, n), the same for all systems."""
    scores = np.array([getattr(run, metric) for run in runs])  # (seeds, documents)
    seeds = random.integers(0, len(runs), (len(documents), len(runs)))
    means = scores[:, documents].mean(2)  # (seeds, resamples)
    return np.take_along_axis(means.T, seeds, 1).mean(1)


def interval(runs: Sequence[Run], metric: str) -> Interval:
    """The mean of a system, with a bootstrap over its seeds and the documents."""
    return bootstrap([runs], metric, lambda found: found[0])


def difference(runs: Sequence[Run], others: Sequence[Run], metric: str) -> Interval:
    """By how much a system is above another on the same documents."""
    return bootstrap([runs, others], metric, lambda found: found[0] - found[1])


def bootstrap(groups: Sequence[Sequence[Run]], metric: str, of: Callable[[list[NDArray]], NDArray]) -> Interval:
    """What `of` makes of the groups' means, once as they are and then of resamples."""
    count = len(getattr(groups[0][0], metric))
    random = np.random.default_rng(0)
    documents = random.integers(0, count, (RESAMPLES, count))
    low, high = np.percentile(of([drawn(runs, metric, random, documents) for runs in groups]), TAILS)
    values = [np.array([getattr(run, metric) for run in runs]).mean() for runs in groups]
    return Interval(float(of(values)), float(low), float(high))


def table(runs: Sequence[Run], rows: Sequence[tuple[str, str]], reference: tuple[str, str]) -> str:
    """Markdown of systems, by (table, name): seeds, loss, ROUGE, and ROUGE-L's difference to a reference with the same seeds."""
    lines = [
        "| system | seeds | examples | loss | ROUGE-1 / 2 | ROUGE-L (95%) | to the reference |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    base = of_system(runs, *reference)
    for row in rows:
        found = of_system(runs, *row)
        if found:
            seeds = {run.seed for run in found}
            same = [run for run in base if run.seed in seeds]
            lines.append(line(row[1], found, same if row != reference else []))
    return "\n".join(lines)


def line(name: str, found: Sequence[Run], base: Sequence[Run]) -> str:
    """One row."""
    losses = [run.loss for run in found if run.loss is not None]
    one, two, longest = (interval(found, metric) for metric in METRICS)
    apart = difference(found, base, "rougeL") if base else None
    cells = [
        name,
        str(len(found)),
        f"{found[0].examples:,}",
        f"{np.mean(losses):.2f}" if losses else "-",
        f"{one.value:.1f} / {two.value:.1f}",
        f"{longest.value:.1f} ({longest.low:.1f} to {longest.high:.1f})",
        "-" if apart is None else f"{apart.value:+.1f} ({apart.low:+.1f} to {apart.high:+.1f})",
    ]
    return "| " + " | ".join(cells) + " |"


def replaced(page: str, name: str, text: str) -> str:
    """A page with what stands between the two marks of a name replaced."""
    before, begin, rest = page.partition(BEGIN.format(name))
    _, end, after = rest.partition(END.format(name))
    if not begin or not end:
        raise SystemExit(f'the page has no marks "{BEGIN.format(name)}" and "{END.format(name)}".')
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def plot(panels: Mapping[str, Mapping[str, Sequence[Run]]], lead: float, path: Path) -> None:
    """ROUGE-L of each system with its interval and its seeds as points, a panel a table; the lead baseline as a line."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    heights = [len(rows) + 1.0 for rows in panels.values()]
    figure, axes = plt.subplots(
        len(panels),
        figsize=(7.5, 0.33 * sum(heights)),
        height_ratios=heights,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (title, rows) in zip(axes[:, 0], panels.items(), strict=True):
        for place, (name, runs) in enumerate(rows.items()):
            found = interval(runs, "rougeL")
            axis.plot([found.low, found.high], [place] * 2, color="tab:blue", linewidth=2)
            axis.plot(found.value, place, "o", color="tab:blue", label=name)
            axis.plot([np.mean(run.rougeL) for run in runs], [place] * len(runs), "|", color="black", markersize=7)
        axis.axvline(lead, color="tab:orange", linewidth=1)
        axis.set_yticks(range(len(rows)), [textwrap.fill(name, 38) for name in rows], fontsize=8)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(title, fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("ROUGE-L: mean, 95% interval, seeds; the line is the first sentence", fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)
