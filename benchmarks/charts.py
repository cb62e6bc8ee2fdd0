"""What a figure shows, as plain data: benchmarks say what, plots.py says how it looks, the JSON keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Series:
    """One curve, cloud or row of dots. ``low`` and ``high`` bound y (x where dots lie in rows); empty for none.

    ``name`` is what colour and marker go by: a method has the same ones in every figure.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        kind: ``lines`` joins points; ``scatter`` does not, and draws the diagonal; ``dots`` has a row for each series.
        level: a horizontal reference line and its label.
    """

    kind: Literal["lines", "scatter", "dots"]
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log: Literal["", "x", "y", "xy"] = ""
    level: tuple[float, str] | None = None


@dataclass(frozen=True)
class Figure:
    """Panels side by side; ``file`` is the PNG's name beside the Markdown."""

    file: str
    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Picture:
    """Small grey images side by side, each with a label above: rows of (label, (H, W) in [0, 1]), all of one size."""

    file: str
    caption: str
    rows: Sequence[Sequence[tuple[str, Tensor]]]


@dataclass(frozen=True)
class Trace:
    """The residual of a method's rows (N, T + 1), in units of the tolerance, and the CPU time (T + 1,) in seconds.

    A row that has ended keeps its last residual.
    """

    method: str
    residual: Tensor
    seconds: Tensor


def residual_figure(file: str, title: str, traces: Sequence[Trace]) -> Figure:
    """Median residual against iteration and against time per item, the quartiles as a band."""
    batch = len(traces[0].residual)
    caption = (
        f"{title}: residual of {batch} items against iteration and against CPU time (one batch, time over items); "
        "lines are medians, bands quartiles. A row that has ended keeps its last residual; a line ends with 95 % of "
        "its rows."
    )
    return Figure(file, caption, _residual_panels(title, traces, batch))


def _residual_panels(title: str, traces: Sequence[Trace], batch: int) -> tuple[Panel, Panel]:
    by_iteration, by_time = [], []
    for trace in traces:
        quartiles = torch.nanquantile(trace.residual, torch.tensor(QUARTILES).double(), dim=0)
        low, middle, high = (_floats(each) for each in quartiles)
        steps = tuple(float(t) for t in range(trace.residual.shape[1]))
        by_iteration.append(Series(trace.method, steps, middle, low, high))
        by_time.append(Series(trace.method, _floats(1e6 * trace.seconds / batch), middle, low, high))
    level = (1.0, "tolerance")
    y_label = "residual / tolerance"
    return (
        Panel("lines", title, "iteration", y_label, tuple(by_iteration), "y", level),
        Panel("lines", title, f"time per item in µs, batch {batch}", y_label, tuple(by_time), "xy", level),
    )


def error_panel(title: str, errors: Sequence[tuple[str, Tensor]], unit: str) -> Panel:
    """Median error in x of every method as a dot, quartiles as a line through it; one (label, errors (N,)) a row."""
    series = []
    for label, values in errors:
        low, middle, high = torch.quantile(values.double(), torch.tensor(QUARTILES).double()).tolist()
        series.append(Series(label, (middle,), (), (low,), (high,)))
    return Panel("dots", title, f"error in x per item (rms), {unit}", "", tuple(series), "x")


def scatter_panel(title: str, first: tuple[str, Tensor], second: tuple[str, Tensor]) -> Panel:
    """Every item's error by one method against its error by another: below the diagonal the second is better."""
    series = (Series(first[0], _floats(first[1]), _floats(second[1])),)
    return Panel("scatter", title, f"error in x, {first[0]}", f"error in x, {second[0]}", series, "xy")


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(values.double().tolist())
