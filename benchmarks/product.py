"""``deceptron bench product``: every method to the noise level, beside the estimators that need no iterations."""

from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.charts import Figure, error_panel, residual_figure, scatter_panel
from benchmarks.measure import Measured, estimate, first, held_out_items, measure, quartiles, rmse, timed
from benchmarks.multistart import multistart
from benchmarks.report import Report, significant_spread, spread
from benchmarks.setup import Setup
from benchmarks.timing import BATCHES, Task, microseconds_per_item, trace
from models.registry import LoadedModel
from solvers.plans import METHODS, rules_for
from training.data import Items, LinearEstimator, Split, draw

STARTS = 8
REFERENCE = f"least_squares, {STARTS} starts"
SCATTERED = ("lm", "dipg")
TRACED = ("dipg", "gn", "lm", "gd", "lbfgs")


def run(setup: Setup) -> Report:
    """Heat-1D and the oscillator, ``setup.repeats`` draws of ``setup.items`` held-out items each."""
    report = Report("product", setup.command("product"))
    report.text(
        "Preset `product`: stop at the noise level, full steps, one-shot start for D-IPG, prior mean for the others. "
        "*At noise level* is judged by the true physics. Median of the repeats, their range in brackets."
    )
    for name in ("heat1d", "oscillator"):
        loaded = setup.registry.load(name)
        report.protocol(name, rules_for("product", loaded.problem.m, loaded.manifest.refinements))
        linear = _linear(setup, loaded)
        repeats = [_one_repeat(setup, report, loaded, linear, repeat) for repeat in range(setup.repeats)]
        _method_table(report, loaded, repeats)
        if loaded.problem.identifiable is not None:
            _identifiable_table(report, loaded, repeats)
        report.figure(_figure(loaded, repeats[0]))
        traces = [trace(loaded, "product", method, first(repeats[0][0], 256)) for method in TRACED]
        report.figure(residual_figure(f"{name}-residual.png", name, traces))
    return report


def _linear(setup: Setup, loaded: LoadedModel) -> LinearEstimator:
    """Fitted to the items that the model was trained on."""
    data = loaded.manifest.data
    count = min(data["train"], 2_000) if setup.quick else data["train"]
    return LinearEstimator.fit(draw(loaded.problem, Split.TRAIN, count, data["seed"]))


def _one_repeat(
    setup: Setup, report: Report, loaded: LoadedModel, linear: LinearEstimator, repeat: int
) -> tuple[Items, list[Measured]]:
    problem, data = loaded.problem, loaded.manifest.data
    items = held_out_items(problem, setup.items, data["seed"], repeat)
    measured = [
        _timed_measure(loaded, method, items, setup.budget_s) for method in tqdm(METHODS, desc=loaded.manifest.name)
    ]
    x, seconds = timed(lambda: linear(items.y))
    measured.append(estimate(problem, "linear MMSE", x, items, seconds))
    measured.append(estimate(problem, "prior mean", linear.prior_mean.expand_as(items.x), items, 0.0))
    if problem.name == "oscillator" and repeat == 0:  # about a second an item: one repeat says enough
        chosen = items.y[: setup.at_most(setup.items)]
        x, seconds = timed(lambda: multistart(problem, chosen, STARTS, seed=repeat))
        measured.append(estimate(problem, REFERENCE, x, first(items, len(x)), seconds))
    for one in measured:
        report.keep(loaded.manifest.name, repeat, one, items)
    return items, measured


def _timed_measure(loaded: LoadedModel, method: str, items: Items, budget_s: float) -> Measured:
    task = Task.of(loaded, "product", method, items)
    microseconds = {batch: mean(microseconds_per_item(task, batch, budget_s)) for batch in BATCHES}
    return replace(measure(loaded, "product", method, items), microseconds=microseconds)


def _costs(repeats: list[tuple[Items, list[Measured]]], method: str, batch: int) -> list[float]:
    """µs per item at a batch size, by repeat; of what came from elsewhere, the one figure there is."""
    return _column(repeats, method, lambda _, one: one.microseconds.get(batch, one.microseconds_per_item))


def _figure(loaded: LoadedModel, repeat: tuple[Items, list[Measured]]) -> Figure:
    """Error in x per item by method, and D-IPG's against LM's."""
    items, measured = repeat
    scale = torch.tensor(loaded.problem.scale, dtype=torch.float64)
    errors = {
        one.method: ((one.x.double() - items.x[: len(one.x)]) / scale).square().mean(1).sqrt() for one in measured
    }
    name, unit = loaded.manifest.name, f"{loaded.problem.unknown.unit}"
    if loaded.problem.unknown.components:
        unit = "share of the range"
    lm, dipg = ((method, errors[method]) for method in SCATTERED)
    caption = (
        f"{name}: error in x of {len(items.x)} items by method (dot: median, bar: quartiles), and item by item D-IPG "
        "against LM: below the diagonal D-IPG is closer to the truth."
    )
    return Figure(
        f"{name}-error.png",
        caption,
        (error_panel(name, list(errors.items()), unit), scatter_panel("item by item", lm, dipg)),
    )


def _method_table(report: Report, loaded: LoadedModel, repeats: list[tuple[Items, list[Measured]]]) -> None:
    rows = []
    linear = _column(repeats, "linear MMSE", lambda items, one: rmse(one.x, items.x))
    for one in repeats[0][1]:
        error = _column(repeats, one.method, lambda items, m: rmse(m.x, items.x[: len(m.x)]))
        iterations = torch.cat([_named(measured, one.method).iterations for _, measured in _with(repeats, one.method)])
        low, middle, high = quartiles(iterations)
        rows.append(
            [
                one.method,
                spread(_column(repeats, one.method, lambda _, m: m.at_noise_level.double().mean().item())),
                f"{middle:g} [{low:g}, {high:g}]",
                spread(error, 4),
                spread([a / b for a, b in zip(error, linear, strict=False)]),
                *(significant_spread(_costs(repeats, one.method, batch)) for batch in BATCHES),
            ]
        )
    columns = ["method", "at noise level", "iterations", "x-RMSE", "x-RMSE / linear MMSE"]
    columns += [f"µs per item, batch {batch}" for batch in BATCHES]
    report.table(f"{loaded.manifest.name}, {len(repeats)} x {len(repeats[0][0].x)} items", columns, rows)


def _identifiable_table(report: Report, loaded: LoadedModel, repeats: list[tuple[Items, list[Measured]]]) -> None:
    identifiable = loaded.problem.identifiable
    assert identifiable is not None  # noqa: S101  the caller looked
    solved = repeats[:1]  # the repeat that the reference solved too
    reference = _median_errors(loaded, solved, REFERENCE)
    rows = []
    for one in repeats[0][1]:
        errors = _median_errors(loaded, solved, one.method)
        cells = [f"{error:.5f} ({error / best:.2f})" for error, best in zip(errors, reference, strict=True)]
        rows.append([one.method, *cells])
    title = f"{loaded.manifest.name}: median absolute error of what the data determine (ratio to the last row)"
    report.table(title, ["method", *identifiable.names], rows)


def _median_errors(loaded: LoadedModel, repeats: list[tuple[Items, list[Measured]]], method: str) -> list[float]:
    identifiable = loaded.problem.identifiable
    assert identifiable is not None  # noqa: S101
    errors: list[Tensor] = [
        (identifiable.of(_named(measured, method).x[:rows].double()) - identifiable.of(items.x[:rows])).abs()
        for items, measured in repeats
        for rows in (len(_named(measured, REFERENCE).x),)
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
