"""Wall times: of one item alone and in a batch, of one step, and along a solve."""

import time
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.charts import Trace
from benchmarks.measure import timed
from models.registry import LoadedModel
from solvers.method import Method, Objective
from solvers.plans import Plan, Preset, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Rules, solve
from training.data import Items

BATCHES = (1, 256)
MOST_REPEATS = 50
STRAGGLERS = 0.05
CLOCK_S = 1e-6  # no step is measured as shorter


@dataclass(frozen=True)
class Task:
    """A plan on observations (N, m) under rules, ready to be run on any of their rows."""

    plan: Plan
    objective: Objective
    observation: Tensor
    prior: Tensor
    rules: Rules

    @classmethod
    def of(cls, loaded: LoadedModel, preset: Preset, method: str, items: Items) -> "Task":
        """What ``measure`` runs for a method's name."""
        problem = loaded.problem
        objective = objective_for(preset, problem, loaded.deceptron)
        return cls(
            plan_for(method, preset, problem.n),
            objective,
            items.y.to(objective.scale),
            torch.tensor(problem.start),
            rules_for(preset, problem.m, loaded.manifest.refinements),
        )

    def warm_up(self) -> None:
        """One iteration of the first row."""
        replace(self, rules=replace(self.rules, max_iterations=1)).run(slice(0, 1))

    def run(self, rows: slice) -> None:
        """Solves those rows, the answer dropped."""
        run_plan(self.plan, self.objective, self.observation[rows], self.prior, self.rules)


def microseconds_per_item(task: Task, batch: int, budget_s: float) -> list[float]:
    """Wall time per item of blocks of ``batch`` different rows in turn, as many as the budget allows.

    Iterations differ between items, so that mean and median do; in a block the slowest row keeps the others' company.
    A block is shorter than ``batch`` only where there is no other.
    """
    size = min(batch, len(task.observation))
    blocks = [slice(i, i + size) for i in range(0, len(task.observation) - size + 1, size)]
    task.warm_up()
    times: list[float] = []
    for block in blocks:
        times.append(timed(partial(task.run, block))[1])
        if sum(times) > budget_s:
            break
    return [1e6 * seconds / size for seconds in times]


def seconds_per_step(
    objective: Objective, observation: Tensor, start: Tensor, method: Method, rules: Rules, budget_s: float
) -> float:
    """Wall time of one iteration of the loop on all rows: a solve of one iteration less a solve of none.

    Median of pairs, measured in turn, as many as the budget allows: what else the machine does falls on both.
    """
    never = replace(rules, tolerance=0.0, least_decrease=0.0)
    one, none = (
        partial(solve, objective, observation, start, method, replace(never, max_iterations=count)) for count in (1, 0)
    )
    one()
    differences: list[float] = []
    began = time.perf_counter()
    while not differences or (time.perf_counter() - began < budget_s and len(differences) < MOST_REPEATS):
        with_step = timed(one)[1]
        differences.append(with_step - timed(none)[1])
    return max(median(differences), CLOCK_S)


def trace(loaded: LoadedModel, preset: Preset, method: str, items: Items) -> Trace:
    """Residuals and wall time along a solve of all items as one batch; methods of a single stage only.

    It ends where no more than ``STRAGGLERS`` of the rows still run.
    """
    task = Task.of(loaded, preset, method, items)
    if len(task.plan) != 1:
        raise ValueError(f"{method} has several stages, whose iterations have no common clock")
    task.warm_up()
    stamps: list[float] = []
    still = replace(task.rules, max_iterations=0)
    began = time.perf_counter()
    run_plan(task.plan, task.objective, task.observation, task.prior, still)
    stamps.append(time.perf_counter() - began)
    began = time.perf_counter()
    solution = run_plan(
        task.plan,
        task.objective,
        task.observation,
        task.prior,
        task.rules,
        history=True,
        progress=lambda done, total: stamps.append(time.perf_counter() - began),
    ).solution
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
