"""The report's pictures, each a matplotlib Figure, and a figure as SVG for the page or as PNG for elsewhere."""

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conjoin.training.report.examples import Attention

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "as_png",
    "as_svg",
    "attention_plot",
    "lengths_plot",
    "loss_plot",
    "places_plot",
    "rates_plot",
    "require_plots",
    "scores_plot",
]

INK = "#1c1e21"  # of lines and words; the page's own colour in SVG
COLOURS = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#ef4444", "#0891b2")  # seen on light and on dark
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "svg.fonttype": "none",  # words stay words
    "svg.hashsalt": "conjoin",  # the same figure is the same file
    "text.parse_math": False,  # tokens may have dollars
}
SIZE = (6.4, 3.4)  # inches
POINTS = 400  # of a line
PLACES = 20  # of sentences, of which the last is all behind
SMOOTHING = 0.85


def require_plots() -> None:
    """Raises ImportError, with what to do, where matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError:
        raise ImportError(
            'the report needs matplotlib, which is not installed; run: pip install "conjoin[train]", or train with '
            "report=False (--no-report)."
        ) from None


@contextmanager
def drawn(size: tuple[float, float] = SIZE, grid: bool = True) -> "Iterator[tuple[Figure, Axes]]":
    """A figure with one pair of axes, in our style."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        if grid:
            axes.grid(True)
            axes.set_axisbelow(True)
        yield figure, axes


def loss_plot(
    losses: Sequence[float], evaluations: Sequence[Mapping[str, float]], best: int | None, unit: str = "token"
) -> "Figure":
    """The loss of each step, faint, and smoothed; validation loss; the step of the best model."""
    with drawn() as (figure, axes):
        steps, values = thinned(losses)
        axes.plot(steps, values, color=COLOURS[0], alpha=0.3, linewidth=0.8)
        axes.plot(steps, smoothed(values), color=COLOURS[0], marker=dot(steps), linewidth=1.8, label="training")
        if evaluations:
            at, found = [one["step"] for one in evaluations], [one["loss"] for one in evaluations]
            axes.plot(at, found, color=COLOURS[1], marker="o", markersize=4, linewidth=1.8, label="validation")
            values = np.append(values, found)
        mark_best(axes, best)
        finite = values[np.isfinite(values)]
        if len(finite):  # the first steps of a new model are far above all others
            low, high = finite.min(), np.percentile(finite, 96)
            axes.set_ylim(low - 0.08 * (high - low + 1e-6), high + 0.15 * (high - low + 1e-6))
        axes.set(xlabel="step", ylabel=f"loss a {unit}")
        legend(figure)
    return figure


def dot(steps: Sequence[float] | NDArray[Any]) -> str | None:
    """The mark of a line of one point, which would not be seen."""
    return "o" if len(steps) == 1 else None


def rates_plot(rates: Sequence[Mapping[str, float]]) -> "Figure":
    """The learning rate of each group of parameters, at some "step"s."""
    steps = [one["step"] for one in rates]
    with drawn() as (figure, axes):
        for at, name in enumerate(name for name in rates[-1] if name != "step"):
            values = [one.get(name, np.nan) for one in rates]
            style = ("-", "--", ":")[at % 3]  # groups often have one rate, and then one line hides another
            colour = COLOURS[at % len(COLOURS)]
            axes.plot(steps, values, color=colour, linestyle=style, marker=dot(steps), linewidth=1.8, label=name)
        axes.set(xlabel="step", ylabel="learning rate")
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
        legend(figure)
    return figure


def scores_plot(
    evaluations: Sequence[Mapping[str, float]],
    names: Mapping[str, str],
    best: int | None,
    lead: Mapping[str, float] | None = None,
) -> "Figure":
    """The scores of texts over time: those of `names`, from 0 to 100; and broken lines, those of first sentences."""
    with drawn() as (figure, axes):
        for at, (key, name) in enumerate(names.items()):
            found = [(one["step"], one[key]) for one in evaluations if key in one]
            axes.plot(*zip(*found, strict=True), color=COLOURS[at], marker="o", markersize=4, linewidth=1.8, label=name)
            if lead is not None:
                axes.axhline(lead[key], color=COLOURS[at], linestyle="--", linewidth=1.4)
        if lead is not None:
            axes.plot([], [], color=INK, linestyle="--", linewidth=1.4, label="first sentences")
        mark_best(axes, best, None)
        axes.set(xlabel="step", ylabel="score, 0 to 100")
        axes.set_ylim(bottom=0)
        legend(figure)
    return figure


def lengths_plot(lengths: Mapping[str, NDArray[np.int64]]) -> "Figure":
    """How long texts are, each kind as shares of its own number."""
    longest = max(int(one.max()) for one in lengths.values())
    edges = np.unique(np.linspace(0, longest + 1, 49).astype(int))
    with drawn() as (figure, axes):
        for at, (name, values) in enumerate(lengths.items()):
            shares = 100 * np.histogram(values, edges)[0] / len(values) / np.diff(edges)
            axes.stairs(
                shares, edges, color=COLOURS[at], linewidth=1.8, label=f"{name} (median {np.median(values):.0f})"
            )
            axes.stairs(shares, edges, color=COLOURS[at], alpha=0.15, fill=True)
        axes.set(xlabel="tokens", ylabel="% of texts, a token")
        axes.set_ylim(bottom=0)
        legend(figure)
    return figure


def places_plot(places: Mapping[str, Sequence[int]]) -> "Figure":
    """Where in their documents sentences stand, from 1, each kind as shares of its own number."""
    longest = min(PLACES, max((max(own, default=1) for own in places.values()), default=1))
    width = 0.8 / len(places)
    with drawn() as (figure, axes):
        for at, (name, own) in enumerate(places.items()):
            counts = np.bincount(np.minimum(own, longest).astype(int), minlength=longest + 1)[1:]
            left = np.arange(1, longest + 1) + (at - (len(places) - 1) / 2) * width
            axes.bar(left, 100 * counts / max(1, len(own)), width, color=COLOURS[at], label=name)
        axes.set(xlabel="sentence of the document", ylabel="% of sentences")
        marked = range(1, longest + 1)
        axes.set_xticks(marked, [f"{one}+" if one == PLACES else str(one) for one in marked])
        axes.grid(False, axis="x")
        legend(figure)
    return figure


def attention_plot(found: Attention) -> "Figure":
    """Written tokens downwards, source tokens to the right; a cell is as strong as the weight, in a row's own scale."""
    from matplotlib.colors import to_rgb

    tall, wide = found.weights.shape
    with drawn((0.9 + 0.23 * wide, 0.9 + 0.23 * tall), grid=False) as (figure, axes):
        cells = np.empty((tall, wide, 4))
        cells[..., :3] = to_rgb(COLOURS[0])
        cells[..., 3] = found.weights / np.maximum(found.weights.max(axis=1, keepdims=True), 1e-9)
        axes.imshow(cells, aspect="equal", interpolation="nearest")
        axes.set_xticks(range(wide), [shown(one) for one in found.read], rotation=90, fontsize=9)
        axes.set_yticks(range(tall), [shown(one) for one in found.written], fontsize=9)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def legend(figure: "Figure") -> None:
    """Names above the axes, where they hide nothing."""
    count = len(figure.axes[0].get_legend_handles_labels()[0])
    figure.legend(ncols=count, loc="outside upper center", columnspacing=1.0, handlelength=1.4)


def mark_best(axes: "Axes", best: int | None, label: str | None = "best") -> None:
    """A line at the step of the best model."""
    if best is not None:
        axes.axvline(best, color=INK, linestyle=":", linewidth=1.2, alpha=0.6, label=label)


def smoothed(values: Iterable[float]) -> list[float]:
    """An exponential mean that begins with the first value."""
    found: list[float] = []
    for value in values:
        found.append(value if not found else SMOOTHING * found[-1] + (1 - SMOOTHING) * value)
    return found


def thinned(values: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps, from 1, and values, of which neighbours are averaged where there are more than POINTS."""
    array = np.asarray(values, np.float64)
    edges = np.unique(np.linspace(0, len(array), min(len(array), POINTS) + 1).astype(int))
    if len(edges) < 2:
        return np.empty(0), np.empty(0)
    means = np.add.reduceat(array, edges[:-1]) / np.diff(edges)
    return (edges[:-1] + edges[1:] + 1) / 2, means


def shown(token: str) -> str:
    """A token as a label."""
    plain = token.strip()
    return plain if len(plain) <= 14 else f"{plain[:13]}…"


def as_png(figure: "Figure") -> bytes:
    """A figure on white, for documents."""
    return saved(figure, format="png", dpi=144, facecolor="white")


def as_svg(figure: "Figure") -> str:
    """A figure for a page: its ink is the colour of the text around it, its ground transparent."""
    text = saved(
        figure, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    ).decode("utf-8")
    return text[text.index("<svg") :].replace(INK, "currentColor")


def saved(figure: "Figure", **options: Any) -> bytes:
    """A figure's file. A character that the font has not is a box in PNG and itself in SVG; nothing is said of it."""
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        figure.savefig(out, **options)
    return out.getvalue()
