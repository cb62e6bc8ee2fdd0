"""The tables and figures of ``deceptron bench product``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.charts import Figure, error_panel, scatter_panel
from benchmarks.measure import Measured, first, quartiles, rmse
from benchmarks.report import Report, significant, significant_spread, spread
from models.registry import LoadedModel
from physics.problem import Identifiable
from training.data import Items

STARTS = 8
LM_FROM_INVERSE = "lm, from g(y*)"
LM_STARTS = f"lm, {STARTS} starts"
REFERENCE = f"least_squares, {STARTS} starts"
SCATTERED = ("lm", "dipg")
LINEAR = "linear MMSE"


@dataclass(frozen=True)
class Repeat:
    """One draw of items and every method's answers to it, or to its first items."""

    items: Items
    measured: dict[str, Measured]

    def truth(self, method: str) -> Tensor:
        """The unknowns that a method was asked for."""
        return first(self.items, len(self.measured[method].x)).x

    def error(self, method: str) -> float:
        """x-RMSE."""
        return rmse(self.measured[method].x, self.truth(method))

    def over_linear(self, method: str) -> float:
        """x-RMSE over that of the linear MMSE estimator on the same items."""
        truth = self.truth(method)
        return self.error(method) / rmse(self.measured[LINEAR].x[: len(truth)], truth)

    def reached(self, method: str) -> float:
        """Share of items at the noise level."""
        return self.measured[method].at_noise_level.double().mean().item()


def per_repeat(repeats: Sequence[Repeat], method: str, figure: Callable[[Repeat], float]) -> list[float]:
    """One figure for every repeat that has the method."""
    return [figure(repeat) for repeat in repeats if method in repeat.measured]


def iterations(repeats: Sequence[Repeat], method: str) -> Tensor:
    """Of all items of all repeats."""
    return torch.cat([repeat.measured[method].iterations for repeat in repeats if method in repeat.measured])


def method_table(report: Report, name: str, repeats: Sequence[Repeat], batches: Sequence[int]) -> None:
    """A row for every method: reach, iterations, error, cost."""
    rows = []
    for method, one in repeats[0].measured.items():
        low, middle, high = quartiles(iterations(repeats, method))
        iterates = one.microseconds or None
        rows.append(
            [
                method,
                str(len(one.x)),
                spread(per_repeat(repeats, method, lambda repeat, m=method: repeat.reached(m))),  # type: ignore[misc]
                f"{middle:g} [{low:g}, {high:g}]" if iterates else "-",
                significant_spread(per_repeat(repeats, method, lambda repeat, m=method: repeat.error(m)), 4),  # type: ignore[misc]
                spread(per_repeat(repeats, method, lambda repeat, m=method: repeat.over_linear(m))),  # type: ignore[misc]
                *(significant(one.microseconds.get(batch, one.microseconds_per_item)) for batch in batches),
            ]
        )
    columns = ["method", "items", "at noise level", "iterations", "x-RMSE", "x-RMSE / linear MMSE"]
    columns += [f"µs per item, batch {batch}" for batch in batches]
    report.table(f"{name}, {len(repeats)} x {len(repeats[0].items.x)} items", columns, rows)


def identifiable_table(report: Report, name: str, identifiable: Identifiable, repeat: Repeat) -> None:
    """Median errors of what the data determine, on the items that the reference solved too."""
    truth = repeat.truth(REFERENCE)

    def errors(method: str) -> list[float]:
        x = repeat.measured[method].x[: len(truth)].double()
        medians: list[float] = (identifiable.of(x) - identifiable.of(truth)).abs().median(0).values.tolist()
        return medians

    best = errors(REFERENCE)
    rows = [
        [method, *(f"{error:.5f} ({error / least:.2f})" for error, least in zip(errors(method), best, strict=True))]
        for method in repeat.measured
    ]
    title = f"{name}: median absolute error of what the data determine, {len(truth)} items (ratio to {REFERENCE})"
    report.table(title, ["method", *identifiable.names], rows)


def errors_figure(loaded: LoadedModel, repeat: Repeat) -> Figure:
    """Error in x per item by method, and D-IPG's against LM's."""
    scale = torch.tensor(loaded.problem.scale, dtype=torch.float64)
    errors = {
        method: ((one.x.double() - repeat.truth(method)) / scale).square().mean(1).sqrt()
        for method, one in repeat.measured.items()
    }
    name, unit = loaded.manifest.name, f"{loaded.problem.unknown.unit}"
    if loaded.problem.unknown.components:
        unit = "share of the range"
    both = min(len(errors[method]) for method in SCATTERED)
    lm, dipg = ((method, errors[method][:both]) for method in SCATTERED)
    caption = (
        f"{name}: error in x per item by method (dot: median, bar: quartiles), and {both} items one by one, D-IPG "
        "against LM: below the diagonal D-IPG is closer to the truth."
    )
    return Figure(
        f"{name}-error.png",
        caption,
        (error_panel(name, list(errors.items()), unit), scatter_panel("item by item", lm, dipg)),
    )
