"""``deceptron bench product``: every method to the noise level, beside the estimators that need no iterations."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measure import Measured, estimate, held_out_items, measure, quartiles, rmse, timed
from benchmarks.multistart import multistart
from benchmarks.report import Report, spread
from benchmarks.setup import Setup
from models.registry import LoadedModel
from solvers.plans import METHODS
from training.data import Items, LinearEstimator, Split, draw

STARTS = 8


def run(setup: Setup) -> Report:
    """Heat-1D and the oscillator, ``setup.repeats`` draws of ``setup.items`` held-out items each."""
    report = Report("product", f"deceptron bench product --items {setup.items} --repeats {setup.repeats}")
    report.text(
        "Preset `product`: stop at the noise level, full steps, one-shot start for D-IPG, prior mean for the others. "
        "*At noise level* is judged by the true physics. Median of the repeats, their range in brackets."
    )
    for name in ("heat1d", "oscillator"):
        loaded = setup.registry.load(name)
        repeats = [_one_repeat(setup, report, loaded, repeat) for repeat in range(setup.repeats)]
        _method_table(report, loaded, repeats)
        if loaded.problem.identifiable is not None:
            _identifiable_table(report, loaded, repeats)
    return report


def _one_repeat(setup: Setup, report: Report, loaded: LoadedModel, repeat: int) -> tuple[Items, list[Measured]]:
    problem, data = loaded.problem, loaded.manifest.data
    items = held_out_items(problem, setup.items, data["seed"], repeat)
    measured = [measure(loaded, "product", method, items) for method in METHODS]
    linear = LinearEstimator.fit(draw(problem, Split.TRAIN, data["train"], data["seed"]))
    x, seconds = timed(lambda: linear(items.y))
    measured.append(estimate(problem, "linear MMSE", x, items, seconds))
    measured.append(estimate(problem, "prior mean", linear.prior_mean.expand_as(items.x), items, 0.0))
    if problem.name == "oscillator" and repeat == 0:  # about a second an item: one repeat says enough
        x, seconds = timed(lambda: multistart(problem, items.y, STARTS, seed=repeat))
        measured.append(estimate(problem, f"least_squares, {STARTS} starts", x, items, seconds))
    for one in measured:
        report.keep(loaded.manifest.name, repeat, one)
    return items, measured


def _method_table(report: Report, loaded: LoadedModel, repeats: list[tuple[Items, list[Measured]]]) -> None:
    rows = []
    linear = _column(repeats, "linear MMSE", lambda items, one: rmse(one.x, items.x))
    for one in repeats[0][1]:
        error = _column(repeats, one.method, lambda items, m: rmse(m.x, items.x))
        iterations = torch.cat([_named(measured, one.method).iterations for _, measured in _with(repeats, one.method)])
        low, middle, high = quartiles(iterations)
        rows.append(
            [
                one.method,
                spread(_column(repeats, one.method, lambda _, m: m.at_noise_level.double().mean().item())),
                f"{middle:g} [{low:g}, {high:g}]",
                spread(error, 4),
                spread([a / b for a, b in zip(error, linear, strict=False)]),
                spread(_column(repeats, one.method, lambda _, m: m.microseconds_per_item), 1),
            ]
        )
    columns = ["method", "at noise level", "iterations", "x-RMSE", "x-RMSE / linear MMSE", "us per item"]
    report.table(f"{loaded.manifest.name}, {len(repeats)} x {len(repeats[0][0].x)} items", columns, rows)


def _identifiable_table(report: Report, loaded: LoadedModel, repeats: list[tuple[Items, list[Measured]]]) -> None:
    identifiable = loaded.problem.identifiable
    assert identifiable is not None  # noqa: S101  the caller looked
    first = repeats[:1]  # the repeat that the reference solved too
    reference = _median_errors(loaded, first, f"least_squares, {STARTS} starts")
    rows = []
    for one in repeats[0][1]:
        errors = _median_errors(loaded, first, one.method)
        cells = [f"{error:.5f} ({error / best:.2f})" for error, best in zip(errors, reference, strict=True)]
        rows.append([one.method, *cells])
    title = f"{loaded.manifest.name}: median absolute error of what the data determine (ratio to the last row)"
    report.table(title, ["method", *identifiable.names], rows)


def _median_errors(loaded: LoadedModel, repeats: list[tuple[Items, list[Measured]]], method: str) -> list[float]:
    identifiable = loaded.problem.identifiable
    assert identifiable is not None  # noqa: S101
    errors: list[Tensor] = [
        (identifiable.of(_named(measured, method).x.double()) - identifiable.of(items.x)).abs()
        for items, measured in repeats
    ]
    medians: list[float] = torch.cat(errors).median(0).values.tolist()
    return medians


def _named(measured: list[Measured], method: str) -> Measured:
    return next(one for one in measured if one.method == method)


def _column(
    repeats: list[tuple[Items, list[Measured]]], method: str, figure: Callable[[Items, Measured], float]
) -> list[float]:
    """One figure of a method for every repeat that has it; by position, a shorter column pairs with the first ones."""
    return [figure(items, _named(measured, method)) for items, measured in _with(repeats, method)]


def _with(repeats: list[tuple[Items, list[Measured]]], method: str) -> list[tuple[Items, list[Measured]]]:
    return [repeat for repeat in repeats if any(one.method == method for one in repeat[1])]
