"""What is run and timed: a named plan, or one of our own, on observations that are ready for it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.registry import LoadedModel
from solvers.method import Objective
from solvers.plans import Plan, Preset, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Progress, Rules, Solution, solve
from training.data import Items


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
        """A method's name under a preset."""
        problem = loaded.problem
        objective = objective_for(preset, problem, loaded.deceptron)
        return cls(
            plan_for(method, preset, problem.n),
            objective,
            items.y.to(objective.scale),
            torch.tensor(problem.start),
            rules_for(preset, problem.m, loaded.manifest.refinements),
        )

    def solve(self, rows: slice, history: bool = False, progress: Progress | None = None) -> Solution:
        """The answers of those rows, solved as one batch."""
        observation = self.observation[rows]
        return run_plan(self.plan, self.objective, observation, self.prior, self.rules, history, progress).solution

    def warm_up(self) -> None:
        """One iteration of the first row."""
        replace(self, rules=replace(self.rules, max_iterations=1)).solve(slice(0, 1))


@dataclass(frozen=True)
class MultiStart(Task):
    """Every row from several starts (k, n) in one batch by the plan's only method; the smallest residual counts.

    Iterations and cost are sums over the starts: all of them have to be paid for.
    """

    starts: Tensor

    def solve(self, rows: slice, history: bool = False, progress: Progress | None = None) -> Solution:
        """The best of the starts for each of those rows."""
        observation, (stage,) = self.observation[rows], self.plan
        count, starts = len(observation), self.starts.to(self.observation)
        repeated = observation.repeat_interleave(len(starts), 0)
        found = solve(self.objective, repeated, starts.repeat(count, 1), stage.method, self.rules, history, progress)
        best = found.residual_rms.nan_to_num(torch.inf).reshape(count, -1).argmin(1)
        chosen = torch.arange(count) * len(starts) + best
        return Solution(
            found.x[chosen],
            found.y[chosen],
            found.residual_rms[chosen],
            found.status[chosen],
            found.iterations.reshape(count, -1).sum(1),
            found.cost.reshape(count, len(starts), -1).sum(1),
        )
