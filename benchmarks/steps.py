"""What a step and a whole solve cost, D-IPG's beside those of our own best Gauss-Newton and Levenberg-Marquardt."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import mean

from torch import Tensor
from tqdm import tqdm

from benchmarks.report import Report, significant
from benchmarks.task import Task
from benchmarks.timing import BATCHES, EVERY, seconds_per_step, side_by_side
from models.registry import LoadedModel
from solvers.dipg import DIPG
from solvers.gauss_newton import ConjugateGradient, Dense, GaussNewton, LevenbergMarquardt
from solvers.method import Method
from solvers.plans import Preset, Stage, Start
from solvers.solve import Status
from training.data import Items

SINGLY = 8  # items that a step at batch 1 is averaged over: some need a second trial point, some do not
OWN = "dipg"


@dataclass(frozen=True)
class Cost:
    """µs per item, by batch: of one step from the start, of a whole solve, and its median over items or blocks.

    ``unheld`` is a whole solve in the largest batch, of those items alone that D-IPG brings to the tolerance.
    """

    step: dict[int, float]
    whole: dict[int, float]
    median: dict[int, float]
    unheld: float


def rivals() -> dict[str, Method]:
    """D-IPG as published, and every Newton method we have with both of its linear solvers."""
    return {
        OWN: DIPG(anchored=False),
        "gn, dense": GaussNewton(linear_solver=Dense()),
        "lm, dense": LevenbergMarquardt(linear_solver=Dense()),
        "gn, CG": GaussNewton(linear_solver=ConjugateGradient()),
        "lm, CG": LevenbergMarquardt(linear_solver=ConjugateGradient()),
    }


def step_table(report: Report, loaded: LoadedModel, preset: Preset, items: Items, budget_s: float) -> dict[str, Cost]:
    """Adds the table of costs under a preset, from the prior mean; all figures are kept."""
    task = Task.of(loaded, preset, "lm", items)
    tasks = {name: replace(task, plan=(Stage(name, method, Start.PRIOR),)) for name, method in rivals().items()}
    solved = tasks[OWN].solve(EVERY).status == Status.CONVERGED
    costs = _costs(tasks, solved, budget_s, loaded.manifest.name)
    for name, cost in costs.items():
        report.keep_rows(model=loaded.manifest.name, method=name, **asdict(cost))
    report.text(
        "What a step and a solve cost, in µs of CPU time per item. A step is the first one, all its trial points "
        "included. Solves are timed side by side: every method on the same items, one after the other. A solve is the "
        "mean over items, and in brackets the median: at batch 1 of items, at a larger batch of blocks. A block ends "
        f"with its slowest row, and {int((~solved).sum())} of {len(solved)} items D-IPG never brings to the tolerance; "
        "the last pair of columns is without those, for all methods."
    )
    columns = ["method"]
    for batch in BATCHES:
        columns += [f"step, batch {batch}", f"over {OWN}", f"solve, batch {batch}", f"over {OWN}"]
    columns += [f"solve, batch {BATCHES[-1]}, no stragglers", f"over {OWN}"]
    rows = [_row(name, cost, costs[OWN]) for name, cost in costs.items()]
    rows.append(_row("best of GN and LM", best(costs), costs[OWN]))
    report.table(f"{loaded.manifest.name}: cost in µs per item", columns, rows)
    return costs


def best(costs: dict[str, Cost]) -> Cost:
    """The cheapest rival, figure by figure."""
    others = [cost for name, cost in costs.items() if name != OWN]
    return Cost(
        {batch: min(cost.step[batch] for cost in others) for batch in BATCHES},
        {batch: min(cost.whole[batch] for cost in others) for batch in BATCHES},
        {batch: min(cost.median[batch] for cost in others) for batch in BATCHES},
        min(cost.unheld for cost in others),
    )


def _costs(tasks: Mapping[str, Task], solved: Tensor, budget_s: float, label: str) -> dict[str, Cost]:
    steps = {
        name: {batch: _step(task, task.plan[0].method, batch, budget_s) for batch in BATCHES}
        for name, task in tqdm(tasks.items(), desc=f"{label}, cost of a step", mininterval=1.0)
    }
    together_s = budget_s * len(tasks)
    whole = {batch: side_by_side(tasks, batch, together_s) for batch in BATCHES}
    easy = {name: replace(task, observation=task.observation[solved]) for name, task in tasks.items()}
    unheld = side_by_side(easy, BATCHES[-1], together_s)
    return {
        name: Cost(
            steps[name],
            {batch: times[name].mean for batch, times in whole.items()},
            {batch: times[name].median for batch, times in whole.items()},
            unheld[name].mean,
        )
        for name in tasks
    }


def _step(task: Task, method: Method, batch: int, budget_s: float) -> float:
    """µs per item of one step: at batch 1 the mean of several items, each alone."""
    size = min(batch, len(task.observation))
    blocks = [slice(i, i + size) for i in range(0, min(SINGLY * size, len(task.observation) - size + 1), size)]
    start = task.prior.to(task.objective.scale).expand(size, -1)
    chosen = blocks if size == 1 else blocks[:1]
    times: list[float] = []
    began = time.process_time()
    for block in chosen:
        observation = task.observation[block]
        share_s = budget_s / len(chosen)
        times.append(seconds_per_step(task.objective, observation, start, method, task.rules, share_s))
        if time.process_time() - began > 2.0 * budget_s:
            break
    return 1e6 * mean(times) / size


def _row(name: str, cost: Cost, own: Cost) -> list[str]:
    cells = [name]
    for batch in BATCHES:
        cells += [significant(cost.step[batch]), f"{cost.step[batch] / own.step[batch]:.1f}"]
        cells.append(f"{significant(cost.whole[batch])} ({significant(cost.median[batch])})")
        cells.append(f"{cost.whole[batch] / own.whole[batch]:.1f} ({cost.median[batch] / own.median[batch]:.1f})")
    cells += [significant(cost.unheld), f"{cost.unheld / own.unheld:.1f}"]
    return cells
