"""The named ways to solve: which methods, from which start, under which rules.

``paper`` is arXiv 2511.21076's protocol; ``product`` goes to the noise level with full steps.

    preset     residual unit w         tolerance                       rho   cap   D-IPG       x-GD step
    paper      std of y per component  0.30                            0.4   200   published   1
    product    noise_std               sqrt(chi2_.999(m) / m)          1.0    50   anchored    Barzilai-Borwein

Both end rows that crawl (LEAST_DECREASE), as the published code does. The noise level is the discrepancy principle
(Morozov 1966): a residual that noise alone exceeds once in a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache
from typing import Literal

import torch
from torch import Tensor

from models.deceptron import Deceptron
from models.engine import Maps
from models.rows import FOURS, Sizes
from physics.constraints import Constraint, intersect
from physics.problem import Problem
from solvers.dipg import DIPG
from solvers.gauss_newton import DENSE_UP_TO, ConjugateGradient, Dense, GaussNewton, LevenbergMarquardt, LinearSolver
from solvers.gradient import BarzilaiBorwein, FixedStepGradient
from solvers.lbfgs import LBFGS
from solvers.line_search import Armijo
from solvers.method import CHARGES, Method, Objective
from solvers.solve import Progress, Rules, Solution, Status, solve
from solvers.step import CompiledStep

Preset = Literal["product", "paper"]

METHODS = ("auto", "dipg", "gn", "lm", "gd", "lbfgs", "oneshot")
PRESETS = ("product", "paper")
PAPER_TOLERANCE, PAPER_RELAXATION, PAPER_CAP = 0.30, 0.4, 200
PRODUCT_CAP = 50
GN_RIDGE = 1e-3  # of mean diag(J^T J), the published baseline's own; with 1e-8 GN stalls on 9 of 10 heat items
AUTO_CAP = 30  # LM iterations of one stage of auto: in-range rows need fewer, others are not worth more
LEAST_DECREASE = 1e-4  # of the misfit: at that pace halving the residual takes 14,000 iterations


class Start(StrEnum):
    """Where a stage begins."""

    PRIOR = "prior"
    ONE_SHOT = "one-shot"
    PREVIOUS = "previous"


@dataclass(frozen=True)
class Stage:
    """One method from one start; ``cap`` lowers the rules' iteration limit."""

    name: str
    method: Method
    start: Start
    cap: int | None = None


Plan = tuple[Stage, ...]
"""Stages in turn: each takes over the rows that the one before left unconverged."""


@dataclass(frozen=True)
class Outcome:
    """A solution, and the index of the stage (B,) whose answer each row carries."""

    solution: Solution
    solved_by: Tensor


def noise_level(m: int) -> float:
    """rms residual over noise that pure noise exceeds with probability 0.001: sqrt(chi2_.999(m) / m)."""
    from scipy.special import chdtri  # a fifth of a second to import, which only this needs

    return float((chdtri(m, 0.001) / m) ** 0.5)


def rules_for(preset: Preset, m: int, refinements: int = 0) -> Rules:
    """The protocol of a preset for m observed values, the same for every method.

    Args:
        refinements: the checkpoint's own number of iterations beyond the noise level (``product`` only).
    """
    if preset == "paper":
        return Rules(Armijo(relaxation=PAPER_RELAXATION), PAPER_TOLERANCE, PAPER_CAP, 0, LEAST_DECREASE)
    return Rules(Armijo(), noise_level(m), PRODUCT_CAP, refinements, LEAST_DECREASE)


def objective_for(
    preset: Preset,
    problem: Problem,
    deceptron: Deceptron,
    tighter: Constraint | None = None,
    maps: Maps | None = None,
    sizes: Sizes = FOURS,
) -> Objective:
    """The misfit of a preset through a Deceptron, over the problem's set or a tighter one.

    Args:
        maps: another engine's f and g, and its whole steps, which hold in the problem's own set.
        sizes: the numbers of rows that it is given.
    """
    like = deceptron.x_scale
    weight = deceptron.y_scale if preset == "paper" else torch.full_like(deceptron.y_scale, problem.noise_std)
    constraint = problem.constraint if tighter is None else intersect(problem.constraint, tighter)
    scale = torch.tensor(problem.scale).to(like)
    of: Maps = maps or deceptron
    run = of.steps.get(preset) if tighter is None else None
    compiled = None if run is None else CompiledStep(dipg_of(preset), rules_for(preset, problem.m).line_search, run)
    return Objective(of.f, of.g, constraint, weight, scale, of.derivatives, deceptron.f, compiled, sizes)


def dipg_of(preset: Preset) -> DIPG:
    """Published under ``paper``, anchored under ``product``."""
    return DIPG(anchored=preset == "product")


@cache
def plan_for(method: str, preset: Preset, n: int) -> Plan:
    """The stages of a method's name under a preset, for n unknowns."""
    first = Start.PRIOR if preset == "paper" else Start.ONE_SHOT
    linear: LinearSolver = Dense() if n <= DENSE_UP_TO else ConjugateGradient()
    dipg = Stage("dipg", dipg_of(preset), first)
    lm = LevenbergMarquardt(linear_solver=linear)
    plans: dict[str, Plan] = {
        "auto": (dipg, Stage("lm", lm, Start.PREVIOUS, AUTO_CAP), Stage("lm", lm, Start.PRIOR, AUTO_CAP)),
        "dipg": (dipg,),
        "gn": (Stage("gn", GaussNewton(GN_RIDGE, linear), Start.PRIOR),),
        "lm": (Stage("lm", lm, Start.PRIOR),),
        "gd": (Stage("gd", FixedStepGradient() if preset == "paper" else BarzilaiBorwein(), Start.PRIOR),),
        "lbfgs": (Stage("lbfgs", LBFGS(), Start.PRIOR),),
        "oneshot": (Stage("oneshot", DIPG(), Start.ONE_SHOT, cap=0),),
    }
    return plans[method]


def run_plan(
    plan: Plan,
    objective: Objective,
    observation: Tensor,
    prior_start: Sequence[float] | Tensor,
    rules: Rules,
    history: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Runs the stages; each row keeps the answer with the smallest residual of those it was given.

    Args:
        observation: (B, m); prior_start: (n,), the start of methods without a learned inverse.
    """
    if not plan or not len(observation):
        raise ValueError("a plan needs at least one stage, and a batch at least one row")
    prior = _prior(prior_start, objective.scale).expand(len(observation), -1).clone()
    best: Solution | None = None
    solved_by = torch.zeros(len(observation), dtype=torch.long, device=observation.device)
    for index, stage in enumerate(plan):
        rows = None if best is None else _open_rows(best, objective.sizes)
        if rows is not None and not len(rows):
            break
        seen, previous = _of(rows, observation), None if best is None else _of(rows, best.x)
        start = _start(stage.start, objective, seen, _of(rows, prior), previous)
        one_shot = start if stage.start is Start.ONE_SHOT else None
        cap = rules.max_iterations if stage.cap is None else min(stage.cap, rules.max_iterations)
        stage_rules = replace(rules, max_iterations=cap)
        found = solve(objective, seen, start, stage.method, stage_rules, history, progress, one_shot)
        found.cost[:, CHARGES.index("inverse")] += int(one_shot is not None)
        if best is None or rows is None:
            best = found
            continue
        better = found.residual_rms < best.residual_rms[rows]
        solved_by[rows[better]] = index
        best = _merge(best, rows, found, better)
    assert best is not None  # noqa: S101  there was a stage
    return Outcome(best, solved_by)


def _prior(start: Sequence[float] | Tensor, like: Tensor) -> Tensor:
    return start.to(like) if isinstance(start, Tensor) else _constant(tuple(start), like.dtype, like.device)


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Made once a problem, never changed."""
    return torch.tensor(values, dtype=dtype, device=device)


def _of(rows: Tensor | None, tensor: Tensor) -> Tensor:
    """Those rows; None is all of them."""
    return tensor if rows is None else tensor[rows]


def _open_rows(best: Solution, sizes: Sizes) -> Tensor:
    unfinished = (best.status == Status.STALLED) | (best.status == Status.MAX_ITERATIONS)
    return sizes.fill(unfinished.nonzero()[:, 0])


def _start(start: Start, objective: Objective, observation: Tensor, prior: Tensor, previous: Tensor | None) -> Tensor:
    if start is Start.ONE_SHOT:
        return objective.inverse(observation)
    return prior if start is Start.PRIOR or previous is None else previous


def _merge(best: Solution, rows: Tensor, found: Solution, better: Tensor) -> Solution:
    """Rows that got better take the new answer; every row that was tried again pays for it."""
    take = rows[better]
    x, y, rms, status = best.x.clone(), best.y.clone(), best.residual_rms.clone(), best.status.clone()
    x[take], y[take], rms[take], status[take] = (
        found.x[better],
        found.y[better],
        found.residual_rms[better],
        found.status[better],
    )
    iterations, cost = best.iterations.clone(), best.cost.clone()
    iterations[rows] += found.iterations
    cost[rows] += found.cost
    return Solution(x, y, rms, status, iterations, cost, _joined(best.history, rows, found.history))


def _joined(first: Tensor | None, rows: Tensor, second: Tensor | None) -> Tensor | None:
    """Histories end to end: a row's later stage follows directly on its earlier one."""
    if first is None or second is None:
        return first
    out = torch.full((len(first), first.shape[1] + second.shape[1]), torch.nan, dtype=first.dtype, device=first.device)
    out[:, : first.shape[1]] = first
    for row, later in zip(rows.tolist(), second, strict=True):
        end = int(first[row].isfinite().sum())
        out[row, end : end + len(later)] = later
    return out
