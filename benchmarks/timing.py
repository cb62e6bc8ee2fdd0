"""CPU times: of one item alone and in a batch, of one step, and along a solve."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median

import torch
from torch import Tensor

from benchmarks.charts import Trace
from benchmarks.measure import cpu_timed
from benchmarks.task import Task
from models.registry import LoadedModel
from solvers.method import Method, Objective
from solvers.plans import Preset
from solvers.solve import Rules, solve
from training.data import Items

BATCHES = (1, 256)
MOST_REPEATS = 50
STRAGGLERS = 0.05
CLOCK_S = 1e-6  # no step is measured as shorter
EVERY = slice(None)


def microseconds_per_item(task: Task, batch: int, budget_s: float) -> list[float]:
    """CPU time per item of blocks of ``batch`` different rows in turn, as many as the budget allows.

    Iterations differ between items, so that mean and median do; in a block the slowest row keeps the others' company.
    A block is shorter than ``batch`` only where there is no other.
    """
    return side_by_side({"": task}, batch, budget_s)[""].microseconds


@dataclass(frozen=True)
class Timed:
    """µs per item of every block, and what the solves of a block charged per item (5,), in the order of CHARGES."""

    microseconds: list[float]
    charged: list[Tensor]

    @property
    def mean(self) -> float:
        """µs per item."""
        return mean(self.microseconds)

    @property
    def median(self) -> float:
        """µs per item of the middle block."""
        return median(self.microseconds)

    @property
    def work(self) -> Tensor:
        """Mean charges per item (5,)."""
        return torch.stack(self.charged).mean(0)


def side_by_side(tasks: Mapping[str, Task], batch: int, budget_s: float) -> dict[str, Timed]:
    """The same for several tasks on the same blocks, one after the other on each: ratios between them can be trusted.

    What else the machine does falls on all alike; ``budget_s`` is for all of them together.
    """
    count = min(len(task.observation) for task in tasks.values())
    size = min(batch, count)
    for task in tasks.values():
        task.warm_up()
    found = {name: Timed([], []) for name in tasks}
    spent = 0.0
    for first in range(0, count - size + 1, size):
        for name, task in tasks.items():
            solution, seconds = cpu_timed(partial(task.solve, slice(first, first + size)))
            found[name].microseconds.append(1e6 * seconds / size)
            found[name].charged.append(solution.cost.double().mean(0))
            spent += seconds
        if spent > budget_s:
            break
    return found


def seconds_per_step(
    objective: Objective, observation: Tensor, start: Tensor, method: Method, rules: Rules, budget_s: float
) -> float:
    """CPU time of one iteration of the loop on all rows: a solve of one iteration less a solve of none.

    Median of pairs, measured in turn, as many as the budget allows: what else the machine does falls on both.
    """
    one_shot = objective.inverse(observation) if method.inverses_per_trial else None  # made once a solve, not a step
    never = replace(rules, tolerance=0.0, least_decrease=0.0)
    one, none = (
        partial(solve, objective, observation, start, method, replace(never, max_iterations=count), one_shot=one_shot)
        for count in (1, 0)
    )
    one()
    differences: list[float] = []
    began = time.process_time()
    while not differences or (time.process_time() - began < budget_s and len(differences) < MOST_REPEATS):
        with_step = cpu_timed(one)[1]
        differences.append(with_step - cpu_timed(none)[1])
    return max(median(differences), CLOCK_S)


def trace(loaded: LoadedModel, preset: Preset, method: str, items: Items) -> Trace:
    """Residuals and CPU time along a solve of all items as one batch; methods of a single stage only.

    It ends where no more than ``STRAGGLERS`` of the rows still run.
    """
    task = Task.of(loaded, preset, method, items)
    if len(task.plan) != 1:
        raise ValueError(f"{method} has several stages, whose iterations have no common clock")
    task.warm_up()
    stamps: list[float] = []
    still = replace(task.rules, max_iterations=0)
    stamps.append(cpu_timed(partial(replace(task, rules=still).solve, EVERY))[1])
    began = time.process_time()
    solution = task.solve(EVERY, True, lambda done, total: stamps.append(time.process_time() - began))
    if solution.history is None:
        raise ValueError("a solve that was asked for its history returned none")
    history = solution.history.double()
    shown = int((history.isfinite().double().mean(0) > STRAGGLERS).sum().clamp_min(1))
    residual = carried_forward(history)[:, :shown] / task.rules.tolerance
    return Trace(method, residual, torch.tensor(stamps[:shown], dtype=torch.float64).cummax(0).values)


def carried_forward(history: Tensor) -> Tensor:
    """Each row's NaNs become the last figure before them: (N, T) -> (N, T); a row of nothing but NaN stays so."""
    known = history.isfinite()
    last = torch.where(known, torch.arange(history.shape[1]), 0).cummax(1).values
    return history.gather(1, last)
