"""The one loop: every method, under the same rules, on every row of a batch at once and on each row alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from models.rows import Sizes
from solvers.line_search import Armijo, Found, Trial
from solvers.method import CHARGES, Cost, Memory, Method, Objective, Rows, charge, cost_tensor
from solvers.step import Limits, full_step


class Status(IntEnum):
    """How a row ended. Not converging is data, not an exception."""

    CONVERGED, MAX_ITERATIONS, STALLED, NONFINITE = range(4)

    @property
    def sentence(self) -> str:
        """What it means, for a person."""
        return SENTENCES[self]


SENTENCES = {
    Status.CONVERGED: "The residual reached the tolerance.",
    Status.MAX_ITERATIONS: "The iteration limit came before the tolerance; the answer is the best point found.",
    Status.STALLED: "No step lowered the misfit any further; the answer is the best point found.",
    Status.NONFINITE: "The forward map gave a value that is not finite; there is no answer for this observation.",
}


@dataclass(frozen=True)
class Rules:
    """What every method is held to: the fair comparison, as one value.

    Attributes:
        tolerance: rms residual, in the objective's unit w, at which a row has converged.
        refinements: iterations to go on for once a row has reached the tolerance: the noise level says when an answer
            explains the data, not when it has used all they say.
        least_decrease: a step that lowers the misfit by less than this fraction of it ends the row as stalled.
    """

    line_search: Armijo = Armijo()
    tolerance: float = 1.25
    max_iterations: int = 50
    refinements: int = 0
    least_decrease: float = 0.0

    @cached_property
    def thresholds(self) -> tuple[float, float]:
        """The misfit at the tolerance, and the part of a misfit below which a step must come not to stall."""
        return 0.5 * self.tolerance**2, 1.0 - self.least_decrease


@dataclass(frozen=True)
class Solution:
    """One row per observation.

    Attributes:
        x: reconstruction (B, n); y: f(x) (B, m).
        residual_rms: rms of (f(x) - y*) / w, (B,).
        status, iterations: (B,) long.
        cost: evaluations (B, 5) in the order of CHARGES.
        history: residual_rms before the first and after every iteration (B, T + 1), NaN once a row has ended;
            None unless asked for.
    """

    x: Tensor
    y: Tensor
    residual_rms: Tensor
    status: Tensor
    iterations: Tensor
    cost: Tensor
    history: Tensor | None = None


MOST_UNASKED = 10
"""Iterations between two looks at who is waiting, where an engine takes several at once."""

FULL_STEP = charge(forward=2, vjp=1)
"""The gradient's f and adjoint, and f at the trial; what a method proposes costs extra."""

Progress = Callable[[int, int], None]
"""Called after every iteration with (rows finished, rows in all)."""


@dataclass(frozen=True)
class _Running(Rows):
    """The rows still at work, packed; ``index`` says which rows of the batch they are, None that they are all of it.

    Of the rows the first ``own`` count; the others repeat the last of them, to fill up a size (models/rows.py).
    ``reached`` marks rows within the tolerance, ``spare`` counts their refinements left, None where there are none.
    ``common`` was charged to every row alike, ``cost`` (B, 5) to each its own beyond that, None for nothing.
    """

    index: Tensor | None
    own: int
    observation: Tensor
    at: Trial
    reached: Tensor
    spare: Tensor | None
    common: Cost
    cost: Tensor | None
    memory: Memory

    @property
    def rms(self) -> Tensor:
        """rms of (f(x) - y*) / w, (B,)."""
        return (2.0 * self.at.misfit).sqrt()


class _Ledger:
    """The answers of the rows that have ended, in the order of the batch."""

    def __init__(self, sizes: Sizes) -> None:
        self.solution: Solution | None = None
        self._sizes = sizes

    def close(self, running: _Running, ended: Tensor, status: Status, iterations: int) -> _Running | None:
        """Books the marked rows and returns the others, if any; within the tolerance is converged, however it ended."""
        ended = ended[: running.own]
        count = int(torch.count_nonzero(ended))
        if count == running.own and running.index is None:  # the whole batch at once: nothing to sort
            self.solution = _answer(running, status, iterations)
            return None
        if not count:
            return running
        if self.solution is None:
            self.solution = _blank(running)
        done = ended.nonzero()[:, 0]
        answer = _answer(running[done], status, iterations)
        index = done if running.index is None else running.index[done]
        for name in ("x", "y", "residual_rms", "status", "iterations", "cost"):
            getattr(self.solution, name)[index] = getattr(answer, name)
        if count == running.own:
            return None
        rest = self._sizes.fill((~ended).nonzero()[:, 0])
        index = rest if running.index is None else running.index[rest]
        return replace(running[rest], index=index, own=running.own - count)


def _answer(running: _Running, status: Status, iterations: int) -> Solution:
    booked = torch.where(running.reached, int(Status.CONVERGED), int(status))
    common = cost_tensor(running.common, booked.device)
    cost = common.expand(len(booked), -1).clone() if running.cost is None else running.cost + common
    return Solution(running.at.x, running.at.y, running.rms, booked, torch.full_like(booked, iterations), cost)


def _blank(running: _Running) -> Solution:
    status = torch.full_like(running.reached, Status.MAX_ITERATIONS, dtype=torch.long)
    x, y, misfit = (torch.empty_like(tensor) for tensor in (running.at.x, running.at.y, running.at.misfit))
    return Solution(x, y, misfit, status, torch.empty_like(status), status.new_empty(len(status), len(CHARGES)))


def solve(
    objective: Objective,
    observation: Tensor,
    start: Tensor,
    method: Method,
    rules: Rules,
    history: bool = False,
    progress: Progress | None = None,
    one_shot: Tensor | None = None,
) -> Solution:
    """Minimises Phi over C from ``start``, each row on its own; a finished row is charged nothing more.

    Args:
        observation: y* (B, m); start: (B, n), projected onto C first.
        one_shot: g(y*) (B, n), where the caller has it already (and pays for it).

    Returns:
        The best point found for every row, with its status.
    """
    first = _begin(objective, observation, start, rules)
    ledger, trace = _Ledger(objective.sizes), [(first.index, first.rms)] if history else []
    settled = ~first.at.misfit.isfinite()
    running = ledger.close(first, settled if rules.refinements else settled | first.reached, Status.NONFINITE, 0)
    if running is not None and rules.max_iterations:
        running = _with_memory(running, objective, method, one_shot)
    iteration = 0
    while running is not None and iteration < rules.max_iterations:
        most = 1 if history else min(MOST_UNASKED, rules.max_iterations - iteration)
        running, ended, taken = _advance(running, objective, method, rules, most)
        iteration += taken
        if history:
            trace.append((running.index, running.rms))
        running = ledger.close(running, ended, Status.STALLED, iteration)
        if progress is not None:
            progress(len(observation) - (0 if running is None else running.own), len(observation))
    if running is not None:
        ledger.close(running, torch.ones_like(running.reached), Status.MAX_ITERATIONS, rules.max_iterations)
    solution = ledger.solution or _blank(first)
    return replace(solution, history=_joined(trace, len(observation))) if history else solution


def _begin(objective: Objective, observation: Tensor, start: Tensor, rules: Rules) -> _Running:
    x = objective.project(start)
    y = objective.forward(x)
    residual = y - observation
    at = Trial(x, y, residual, objective.misfit(residual))
    reached = at.misfit <= _number(rules.thresholds[0], x.dtype, x.device)
    spare = rules.refinements - reached.long() if rules.refinements else None
    return _Running(None, len(x), observation, at, reached, spare, charge(forward=1), None, Memory())


def _with_memory(running: _Running, objective: Objective, method: Method, one_shot: Tensor | None) -> _Running:
    """What the method remembers before the first iteration, of the rows that make one."""

    def inverted() -> Tensor:
        if one_shot is None:
            return objective.inverse(running.observation)
        return one_shot if running.index is None else one_shot[running.index]

    memory = method.begin(objective, running.at.x, inverted)
    if one_shot is not None or not method.inverses_per_trial:
        return replace(running, memory=memory)
    return replace(running, memory=memory, common=_sum(running.common, charge(inverse=method.inverses_per_trial)))


def _advance(
    running: _Running, objective: Objective, method: Method, rules: Rules, most: int
) -> tuple[_Running, Tensor, int]:
    """One iteration of the running rows, which of them (B,) it ends, and how many it was: ``most`` if uneventful."""
    search, observation = rules.line_search, running.observation
    step = full_step(objective, method, search, observation, running.at, running.memory, _limits(running, rules, most))
    found = search.search(objective, observation, step.at, step.proposal.curve, step.trial, step.enough)
    memory, may_retry = method.learn(step.proposal.memory, found.alpha, found.accepted)
    level, pace = (_number(each, found.at.x.dtype, found.at.x.device) for each in rules.thresholds)
    reached = running.reached | (found.at.misfit <= level)
    spare = None if running.spare is None else running.spare - reached.long()
    common, cost = _spent(running, _searched(found, method, step.proposal.cost))
    for _ in range(step.taken - 1):
        common = _sum(common, _sum(FULL_STEP, step.proposal.cost))
    after = _Running(running.index, running.own, observation, found.at, reached, spare, common, cost, memory)
    stalled = found.accepted & (found.at.misfit > pace * step.at.misfit)
    if found.shorter is not None:
        stalled |= ~found.accepted & ~may_retry
    ended = stalled | (reached if running.spare is None else reached & (running.spare == 0))
    return after, ended, step.taken


def _limits(running: _Running, rules: Rules, most: int) -> Limits:
    """Rows on their refinements are counted down one step at a time."""
    refining = running.spare is not None and bool(running.reached.any())
    return Limits(1 if refining else most, *rules.thresholds)


def _spent(running: _Running, cost: Cost) -> tuple[Cost, Tensor | None]:
    """What the rows have been charged, alike and each its own, after one more cost."""
    if all(isinstance(count, int) for count in cost):
        return _sum(running.common, cost), running.cost
    own = cost_tensor(cost, running.reached.device)
    return running.common, own if running.cost is None else running.cost + own


def _sum(one: Cost, other: Cost) -> Cost:
    return tuple(a + b for a, b in zip(one, other, strict=True))


@lru_cache(maxsize=256)
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """As a tensor (), made once: comparing with a Python number makes one every time."""
    return torch.tensor(value, dtype=dtype, device=device)


def _searched(found: Found, method: Method, proposed: Cost) -> Cost:
    """What one iteration cost: the gradient's f and adjoint, the proposal, and f (and g) at every trial."""
    shorter = 0 if found.shorter is None else found.shorter
    trials = charge(forward=shorter, inverse=shorter * method.inverses_per_trial)
    return _sum(_sum(FULL_STEP, proposed), trials)


def _joined(trace: list[tuple[Tensor | None, Tensor]], batch: int) -> Tensor:
    """rms per iteration (B, T + 1), NaN once a row has ended."""
    out = torch.full((batch, len(trace)), torch.nan, dtype=trace[0][1].dtype, device=trace[0][1].device)
    for column, (index, rms) in enumerate(trace):
        out[slice(None) if index is None else index, column] = rms
    return out


__all__ = ["CHARGES", "Progress", "Rules", "Solution", "Status", "solve"]
