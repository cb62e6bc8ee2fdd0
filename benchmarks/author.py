"""The paper author's own package, ``deceptron``, with our weights in it: same protocol, same answers?

The package is the user's to bring (its licence is MIT, its name clashes with nothing here): put a checkout of
github.com/AadityaKachhadiya/deceptron on PYTHONPATH. Commit 5340748 is the last one that Python can read; in the
later ones the docstrings are not indented. The code is otherwise the same.
"""

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.measure import cpu_timed, timed
from models.deceptron import Deceptron
from models.registry import LoadedModel
from physics.constraints.bounds import Bounded
from physics.problem import Problem
from solvers.line_search import Armijo, Trial
from solvers.method import Iterate, Objective
from solvers.plans import PAPER_CAP, PAPER_RELAXATION, PAPER_TOLERANCE, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Rules, Solution
from training.data import Items

NEEDED = ("SolverConfig", "solve_dipg", "solve_gradient_descent")
METHODS = ("dipg", "gd")


class NotImportable(Exception):
    """The author's package is not to be had here; the message says why."""


@dataclass(frozen=True)
class UnprojectedSlope(Armijo):
    """Accepts as the author's package does: Phi(x+) <= Phi(x) + slope * grad Phi . rho (x(alpha) - x).

    The paper takes the slope along the step that is made, x+ - x; the package along the step before its projection.
    They differ wherever a bound cuts the step: much of the time on the oscillator, never so far on Heat-1D.
    """

    def attempt(self, objective: Objective, observation: Tensor, at: Iterate, aim: Tensor) -> tuple[Trial, Tensor]:
        step = self.relaxation * (aim - at.x)
        x = objective.project(at.x + step)
        y = objective.forward(x)
        residual = y - observation
        misfit = objective.misfit(residual)
        return Trial(x, y, residual, misfit), misfit <= at.misfit + self.slope * (step * at.gradient).sum(1)


@dataclass(frozen=True)
class Agreement:
    """Both implementations on the same items in float64, item by item.

    Attributes:
        theirs: their answers (N, n); preset: ours by the preset ``paper``.
        same_rules: ours with their slope term, and without the stall rule, which the package has not.
        their_iterations, our_iterations: (N,), ours by the preset.
        their_seconds, our_seconds: per item.
    """

    method: str
    theirs: Tensor
    preset: Tensor
    same_rules: Tensor
    their_iterations: Tensor
    our_iterations: Tensor
    their_seconds: float
    our_seconds: float

    def differences(self, ours: Tensor) -> Tensor:
        """max |x_theirs - x_ours| over the components, per item (N,)."""
        return (self.theirs - ours).abs().amax(1)


def author_package() -> ModuleType:
    """The module ``deceptron``.

    Raises:
        NotImportable: missing, unreadable, or something else of that name.
    """
    try:
        module = import_module("deceptron")
    except (ImportError, SyntaxError) as error:
        raise NotImportable(f"{type(error).__name__}: {error}") from error
    missing = [name for name in NEEDED if not hasattr(module, name)]
    if missing:
        raise NotImportable(f"{module.__name__} has no {', '.join(missing)}; it is another package of that name")
    return module


class InTheirForm(nn.Module):
    """Our Deceptron as the author's solvers want it: f and g on z-scored y, of one row without a batch dimension."""

    def __init__(self, deceptron: Deceptron) -> None:
        super().__init__()
        self.deceptron = deceptron

    def f(self, x: Tensor) -> Tensor:
        """x (n,) or (B, n) in physical units -> z-scored y."""
        return self.scored(self.deceptron.f(x))

    def g(self, y: Tensor) -> Tensor:
        """z-scored y -> x."""
        return self.deceptron.g(self.deceptron.y_shift + self.deceptron.y_scale * y)

    def scored(self, y: Tensor) -> Tensor:
        """(y - mean) / standard deviation."""
        return (y - self.deceptron.y_shift) / self.deceptron.y_scale


def agreement(package: ModuleType, loaded: LoadedModel, method: str, items: Items) -> Agreement:
    """Solves items with both under the published protocol, one by one, for the times' sake."""
    problem, deceptron = loaded.problem, copy.deepcopy(loaded.deceptron).double()
    theirs, their_iterations, their_seconds = _theirs(package, problem, deceptron, method, items.y)
    objective, rules = objective_for("paper", problem, deceptron), rules_for("paper", problem.m)
    plan = plan_for(method, "paper", problem.n)

    def solved(rows: Tensor, rules: Rules) -> Solution:
        return run_plan(plan, objective, rows, problem.start, rules).solution

    singly, seconds = timed(lambda: [solved(row[None], rules) for row in items.y])
    preset, iterations = (torch.cat([getattr(one, name) for one in singly]) for name in ("x", "iterations"))
    line_search = UnprojectedSlope(**asdict(rules.line_search))
    same_rules = solved(items.y, replace(rules, line_search=line_search, least_decrease=0.0)).x
    our_seconds = seconds / len(singly)
    return Agreement(method, theirs, preset, same_rules, their_iterations, iterations, their_seconds, our_seconds)


def _theirs(
    package: ModuleType, problem: Problem, deceptron: Deceptron, method: str, observation: Tensor
) -> tuple[Tensor, Tensor, float]:
    model = InTheirForm(deceptron)
    start = torch.tensor(problem.start, dtype=torch.float64)
    config = _config(package, problem, start)
    solver: Callable[[Tensor], dict[str, Any]] = {
        "dipg": lambda row: package.solve_dipg(model, row, start, config),
        "gd": lambda row: package.solve_gradient_descent(model.f, row, start, config),
    }[method]
    found = [solver(model.scored(row)) for row in tqdm(observation, desc=f"author's {method}", mininterval=1.0)]
    # Their count includes the look that finds the row converged; their clock leaves out the RJCP of solve_dipg.
    iterations = torch.tensor([each["iters"] - (each["success"] > 0) for each in found])
    return (
        torch.stack([each["x_hat"] for each in found]),
        iterations,
        sum(each["time_sec"] for each in found) / len(found),
    )


def iteration_seconds(package: ModuleType, loaded: LoadedModel, items: Items, budget_s: float) -> float:
    """Least CPU seconds of one of their D-IPG iterations on one item: half of what a solve of three takes beyond one.

    In float32, as ours; what they do after the loop (RJCP) cancels out.
    """
    problem, model = loaded.problem, InTheirForm(loaded.deceptron)
    start = torch.tensor(problem.start)
    config = replace(_config(package, problem, start), tolerance_eps=0.0)
    best = {1: float("inf"), 3: float("inf")}
    began = time.process_time()
    for row in itertools.cycle(model.scored(items.y.float())):
        for count in best:
            asked = replace(config, max_iterations=count)
            found, seconds = cpu_timed(partial(package.solve_dipg, model, row, start, asked))
            if found["iters"] == count and found["accepted_frac"] == 1.0:
                best[count] = min(best[count], seconds)
        if time.process_time() - began > max(budget_s, 0.3):
            break
    return (best[3] - best[1]) / 2


def _config(package: ModuleType, problem: Problem, like: Tensor) -> Any:
    if not isinstance(problem.constraint, Bounded):
        raise NotImplementedError(f"the author's solvers know bounds only, and {problem.name} has other constraints")
    lower, upper = problem.constraint.bounds(like)
    return package.SolverConfig(
        max_iterations=PAPER_CAP,
        tolerance_eps=PAPER_TOLERANCE,
        rho=PAPER_RELAXATION,
        x_low=lower,  # declared as numbers, used in torch.clamp alone, which takes one bound for each unknown as well
        x_high=upper,
    )
