"""What a whole solve costs, D-IPG's beside the others', timed on the same items in turn, batch by batch."""

from collections.abc import Mapping, Sequence
from statistics import mean

from benchmarks.report import Report, significant
from benchmarks.task import Task
from benchmarks.timing import side_by_side
from models.registry import LoadedModel
from training.data import Items

PRICED = ("dipg", "lm", "gn", "lbfgs", "gd")
OWN = "dipg"
BUDGETS = 15.0  # times the budget of one measurement, for all methods of a batch together

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
    prices = {batch: {method: mean(values) for method, values in of.items()} for batch, of in times.items()}
    for batch, of in times.items():
        report.keep_rows(model=name, priced=goal, batch=batch, microseconds=dict(of))
    columns = ["method"]
    for batch in batches:
        columns += [f"batch {batch} ({len(times[batch][OWN])} timed)", f"over {OWN}"]
    rows = []
    for method in tasks:
        cells = [method]
        for batch in batches:
            cost = prices[batch][method]
            cells += [significant(cost), f"{cost / prices[batch][OWN]:.1f}"]
        rows.append(cells)
    report.table(f"{name}: a whole solve {goal}, µs per item, side by side on the same items", columns, rows)
    return prices
