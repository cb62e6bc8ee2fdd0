"""What a whole solve costs, D-IPG's beside the others', timed on the same items in turn, batch by batch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from benchmarks.report import Report, significant
from benchmarks.task import Task
from benchmarks.timing import side_by_side
from models.registry import LoadedModel
from solvers.method import CHARGES
from training.data import Items

PRICED = ("dipg", "lm", "gn", "lbfgs", "gd")
OWN = "dipg"
BUDGETS = 8.0  # times the budget of one measurement, for all methods of a batch together

Prices = dict[int, dict[str, float]]
"""Mean µs per item by batch and method."""


def price_section(report: Report, loaded: LoadedModel, items: Items, batches: Sequence[int], budget_s: float) -> Prices:
    """To the noise level, under the preset ``product``."""
    tasks = {method: Task.of(loaded, "product", method, items) for method in PRICED}
    return price_table(report, loaded.manifest.name, "to the noise level", tasks, batches, budget_s)


def price_table(
    report: Report, name: str, goal: str, tasks: Mapping[str, Task], batches: Sequence[int], budget_s: float
) -> Prices:
    """Adds the table; all figures are kept."""
    times = {batch: side_by_side(tasks, batch, BUDGETS * budget_s) for batch in batches}
    prices = {batch: {method: found.mean for method, found in of.items()} for batch, of in times.items()}
    for batch, of in times.items():
        for method, found in of.items():
            report.keep_rows(model=name, priced=goal, batch=batch, method=method, **asdict(found))
    columns = ["method", "f", "derivatives of f", "g"]
    for batch in batches:
        columns += [f"batch {batch} ({len(times[batch][OWN].microseconds)} timed)", f"over {OWN}"]
    rows = []
    for method in tasks:
        work = dict(zip(CHARGES, times[batches[-1]][method].work.tolist(), strict=True))
        counts = (work["forward"], work["vjp"] + work["jvp"], work["inverse"])
        cells = [method, *(f"{count:.1f}" for count in counts)]
        for batch in batches:
            cost = prices[batch][method]
            cells += [significant(cost), f"{cost / prices[batch][OWN]:.1f}"]
        rows.append(cells)
    title = f"{name}: a whole solve {goal}, side by side on the same items: evaluations of f, products with its "
    report.table(title + "Jacobian, evaluations of g (means), µs of CPU time per item", columns, rows)
    return prices
