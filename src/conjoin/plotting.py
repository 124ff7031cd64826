"""Speeds as a picture: a panel for each model, a group of bars for each setting, a bar for each engine."""

from dataclasses import dataclass
from pathlib import Path

from conjoin.errors import InputError

__all__ = ["Panel", "check_plot", "plot_speeds"]


@dataclass(frozen=True)
class Panel:
    """Tokens a second by setting and engine; every setting has the same engines."""

    title: str
    speeds: dict[str, dict[str, float]]


def check_plot(path: str) -> None:
    """Raises InputError where no PNG can be written there, ImportError where what draws is not installed."""
    if Path(path).suffix.lower() != ".png":
        raise InputError(f'the plot is to be "{path}"; a name that ends in .png was expected.')
    if not Path(path).resolve().parent.is_dir():
        raise InputError(f'"{path}" cannot be written: there is no folder "{Path(path).resolve().parent}".')
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ImportError(
            'a plot needs matplotlib, which is not installed; run: pip install "conjoin[bench]".'
        ) from None


def plot_speeds(panels: list[Panel], path: str) -> None:
    """Writes a PNG. Each bar says its number; all panels share one legend."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    engines = list(next(iter(panels[0].speeds.values())))
    width = max(6.0, 0.4 * max(len(panel.speeds) for panel in panels) * len(engines) + 2.4)
    figure, axes = plt.subplots(len(panels), 1, figsize=(width, 3.6 * len(panels)), squeeze=False, layout="constrained")
    colours = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        for i, engine in enumerate(engines):
            places = [n + (i - (len(engines) - 1) / 2) * 0.84 / len(engines) for n in range(len(panel.speeds))]
            heights = [found[engine] for found in panel.speeds.values()]
            bars = axis.bar(places, heights, 0.78 / len(engines), label=engine, color=colours[i % 10])
            axis.bar_label(bars, [f"{height:.0f}" for height in heights], fontsize=7, padding=1)
        axis.set_xticks(range(len(panel.speeds)), list(panel.speeds), fontsize=8)
        axis.set_ylabel("tokens a second")
        axis.set_title(panel.title, fontsize=10)
        axis.margins(y=0.1)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=140)
    plt.close(figure)
