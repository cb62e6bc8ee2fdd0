"""How figures look: PNG files from their data, without a display, in inks that colour-blind readers can tell apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.charts import Figure, Panel, Series

# Okabe and Ito (2008): told apart with any common colour vision, and in grey by their markers.
INKS = {
    "dipg": ("#D55E00", "o"),
    "auto": ("#000000", "D"),
    "lm": ("#0072B2", "s"),
    "gn": ("#56B4E9", "^"),
    "lbfgs": ("#009E73", "v"),
    "gd": ("#CC79A7", "P"),
    "dipg as published": ("#E69F00", "X"),
    "truth": ("#332288", "h"),
    "observation": ("#999999", "."),
}
OTHER = ("#666666", "o")
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
}
MANY = 150.0  # largest over smallest value on an axis
PANEL_WIDTH, PANEL_HEIGHT, ROW_HEIGHT, DPI = 4.4, 3.3, 0.27, 150


def draw(figures: Sequence[Figure], directory: Path) -> list[str]:
    """Draws every figure into the directory; returns the names of the files."""
    directory.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        _draw_one(figure, directory / figure.file)
    return [figure.file for figure in figures]


def _draw_one(figure: Figure, path: Path) -> None:
    rows = max((len(panel.series) for panel in figure.panels if panel.kind == "dots"), default=0)
    size = (PANEL_WIDTH * len(figure.panels), max(PANEL_HEIGHT, ROW_HEIGHT * rows + 1.1))
    with rc_context(STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        FigureCanvasAgg(canvas)
        for axes, panel in zip(canvas.subplots(1, len(figure.panels), squeeze=False)[0], figure.panels, strict=True):
            _draw_panel(axes, panel)
        canvas.savefig(path, dpi=DPI)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if "x" in panel.log:
        axes.set_xscale("log")
    if "y" in panel.log:
        axes.set_yscale("log")
    {"lines": _lines, "scatter": _scatter, "dots": _dots}[panel.kind](axes, panel)
    if panel.level is not None:
        height, label = panel.level
        axes.axhline(height, color="#444444", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            label, (1.0, height), (-2, 3), ("axes fraction", "data"), "offset points", ha="right", color="#444444"
        )
    for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
        if scale == "log":
            _label_decades(axis)


def _label_decades(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 where there are few decades, powers of ten where there are many."""
    low, high = sorted(axis.get_view_interval())
    axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    if high / low > MANY:
        axis.set_minor_formatter(NullFormatter())
        return
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(FuncFormatter(_plain))


def _plain(value: float, position: int | None = None) -> str:
    return f"{value:g}"


def _lines(axes: Axes, panel: Panel) -> None:
    for series in panel.series:
        colour, marker = _ink(series)
        dashes = "--" if "CG" in series.name else "-"
        few = max(1, len(series.x) // 12)
        axes.plot(series.x, series.y, dashes, color=colour, marker=marker, markevery=few, label=series.name)
        if series.low:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.13, linewidth=0)
    axes.legend(handlelength=1.8, labelspacing=0.3)


def _scatter(axes: Axes, panel: Panel) -> None:
    values = [value for series in panel.series for value in (*series.x, *series.y)]
    low, high = min(values) / 1.2, max(values) * 1.2
    axes.plot((low, high), (low, high), color="#444444", linewidth=0.8, linestyle=(0, (4, 3)))
    for series in panel.series:
        axes.scatter(series.x, series.y, s=7, color=_ink(series)[0], alpha=0.45, linewidths=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")


def _dots(axes: Axes, panel: Panel) -> None:
    for row, series in enumerate(panel.series):
        colour, marker = _ink(series)
        if series.low:
            axes.plot((series.low[0], series.high[0]), (row, row), color=colour, linewidth=2.0, alpha=0.4)
        axes.plot(series.x, (row,), marker, color=colour, markersize=5.5)
    axes.set_yticks(range(len(panel.series)), [series.name for series in panel.series])
    axes.set_ylim(len(panel.series) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _ink(series: Series) -> tuple[str, str]:
    """Colour and marker by the method's name, what follows a comma left out."""
    return INKS.get(series.name.split(",")[0].removesuffix(" (ours)"), OTHER)
