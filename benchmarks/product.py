"""``deceptron bench product``: every method to the noise level, beside the estimators that need no iterations."""

from dataclasses import dataclass, replace
from statistics import mean

import torch
from torch import Generator
from tqdm import tqdm

from benchmarks.charts import residual_figure
from benchmarks.followup import PUBLISHED, followup_section
from benchmarks.measure import Measured, cpu_timed, estimate, first, held_out_items, measured
from benchmarks.multistart import multistart
from benchmarks.prices import price_section
from benchmarks.product_goals import product_goals
from benchmarks.product_tables import (
    LM_FROM_INVERSE,
    LM_STARTS,
    REFERENCE,
    STARTS,
    Repeat,
    errors_figure,
    identifiable_table,
    method_table,
)
from benchmarks.report import Report
from benchmarks.setup import Setup, one_thread
from benchmarks.task import MultiStart, Task
from benchmarks.timing import microseconds_per_item, trace
from models.registry import LoadedModel
from solvers.plans import METHODS, Start, rules_for
from training.data import Items, LinearEstimator, Split, draw

REFERENCE_ITEMS = 100  # of one repeat: about a second each
OWN = ("auto", "dipg", "oneshot")
TRACED = ("dipg", "gn", "lm", "gd", "lbfgs")
QUICK_TRAINING = 300


@dataclass(frozen=True)
class Scope:
    """How far the measurement of a model goes.

    Attributes:
        others: items of a draw that the methods other than D-IPG's get; None for all.
        batches: sizes at which the cost of an item is measured.
        starts: whether LM is also run from several starts, and the first repeat by least_squares.
        prices: batches at which the main methods are timed side by side; none for no such table.
        long: too long for a quick run.
    """

    others: int | None = None
    batches: tuple[int, ...] = (1, 256)
    starts: bool = False
    prices: tuple[int, ...] = ()
    long: bool = False


SCOPES = {
    "heat1d": Scope(),
    "oscillator": Scope(starts=True, prices=(1, 16, 256)),
    "heat1d_nonlinear": Scope(starts=True, prices=(1, 16, 256)),
    "heat3d": Scope(prices=(1, 16, 256)),
    "allen_cahn2d": Scope(others=16, batches=(1,), prices=(1, 4, 16), long=True),
}


@one_thread()
def run(setup: Setup) -> Report:
    """Every shipped model of the preset, ``setup.repeats`` draws of ``setup.items`` held-out items each."""
    report = Report("product", setup.command("product"))
    report.text(
        "Preset `product`: stop at the noise level, full steps, one-shot start for D-IPG, prior mean for the others. "
        "*At noise level* is judged by the true physics. Median of the repeats, their range in brackets; iterations "
        "are median [quartiles] over all items, from several starts the sum over the starts. Errors are compared with "
        "linear MMSE's on the same items. Costs are CPU time, the first repeat's."
    )
    for name, scope in SCOPES.items():
        if not (setup.quick and scope.long):
            _one_model(setup, report, setup.registry.load(name), scope)
    return report


def _one_model(setup: Setup, report: Report, loaded: LoadedModel, scope: Scope) -> None:
    name = loaded.manifest.name
    report.protocol(name, rules_for("product", loaded.problem.m, loaded.manifest.refinements))
    linear = _linear(setup, loaded)
    repeats = [_one_repeat(setup, report, loaded, scope, linear, repeat) for repeat in range(setup.repeats)]
    method_table(report, name, repeats, scope.batches)
    if loaded.problem.identifiable is not None:
        identifiable_table(report, name, loaded.problem.identifiable, repeats[0])
    report.figure(errors_figure(loaded, repeats[0]))
    few = first(repeats[0].items, min(scope.others or 256, setup.items))
    report.figure(residual_figure(f"{name}-residual.png", name, [trace(loaded, "product", m, few) for m in TRACED]))
    paid = price_section(report, loaded, repeats[0].items, scope.prices, setup.budget_s) if scope.prices else {}
    published = PUBLISHED.get(name)
    if published is not None:
        draws = [repeat.items for repeat in repeats]
        followup_section(report, loaded, published, draws, scope.others, scope.prices, setup.budget_s)
    report.goals += product_goals(name, repeats, paid)


def _linear(setup: Setup, loaded: LoadedModel) -> LinearEstimator:
    """Fitted to the items that the model was trained on."""
    data = loaded.manifest.data
    count = min(data["train"], QUICK_TRAINING) if setup.quick else data["train"]
    return LinearEstimator.fit(draw(loaded.problem, Split.TRAIN, count, data["seed"]))


def _tasks(loaded: LoadedModel, scope: Scope, items: Items, few: Items) -> dict[str, tuple[Task, Items]]:
    """Every row of the table that is solved by our loop, and the items it gets."""
    out = {}
    for method in METHODS:
        given = items if method in OWN else few
        out[method] = (Task.of(loaded, "product", method, given), given)
    lm = out["lm"][0]
    out[LM_FROM_INVERSE] = (replace(lm, plan=(replace(lm.plan[0], start=Start.ONE_SHOT),)), few)
    if scope.starts:
        drawn = loaded.problem.sample(STARTS - 1, Generator().manual_seed(0))
        starts = torch.cat([torch.tensor([loaded.problem.start], dtype=drawn.dtype), drawn])
        out[LM_STARTS] = (MultiStart(starts=starts, **vars(lm)), few)
    return out


def _one_repeat(
    setup: Setup, report: Report, loaded: LoadedModel, scope: Scope, linear: LinearEstimator, repeat: int
) -> Repeat:
    problem, data, name = loaded.problem, loaded.manifest.data, loaded.manifest.name
    items = held_out_items(problem, setup.items, data["seed"], repeat)
    few = first(items, min(scope.others or setup.items, setup.items))
    found = {}
    for method, (task, given) in tqdm(_tasks(loaded, scope, items, few).items(), desc=f"{name}, repeat {repeat}"):
        batches = scope.batches if repeat == 0 else ()
        microseconds = {b: mean(microseconds_per_item(task, b, setup.budget_s)) for b in batches}
        found[method] = replace(measured(method, task, problem, given), microseconds=microseconds)
    found |= _estimates(setup, loaded, scope, linear, items, repeat)
    for one in found.values():
        report.keep(name, repeat, one, items)
    return Repeat(items, found)


def _estimates(
    setup: Setup, loaded: LoadedModel, scope: Scope, linear: LinearEstimator, items: Items, repeat: int
) -> dict[str, Measured]:
    """What needs no loop of ours."""
    problem = loaded.problem
    x, seconds = cpu_timed(lambda: linear(items.y))
    out = [
        estimate(problem, "linear MMSE", x, items, seconds),
        estimate(problem, "prior mean", linear.prior_mean.expand_as(items.x), items, 0.0),
    ]
    if problem.identifiable is not None and repeat == 0:
        chosen = first(items, setup.at_most(REFERENCE_ITEMS))
        x, seconds = cpu_timed(lambda: multistart(problem, chosen.y, STARTS, seed=repeat))
        out.append(estimate(problem, REFERENCE, x, chosen, seconds))
    return {one.method: one for one in out}
