"""The one loop: every method, under the same rules, on every row of a batch at once and on each row alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
from torch import Tensor

from solvers.line_search import Armijo, Found
from solvers.method import CHARGES, Iterate, Memory, Method, Objective, Rows, charge


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


Progress = Callable[[int, int], None]
"""Called after every iteration with (rows finished, rows in all)."""


@dataclass(frozen=True)
class _Running(Rows):
    """The rows still at work, packed; ``index`` says which rows of the batch they are.

    ``reached`` marks rows within the tolerance, ``spare`` counts their refinements left.
    """

    index: Tensor
    observation: Tensor
    x: Tensor
    y: Tensor
    rms: Tensor
    reached: Tensor
    spare: Tensor
    iterations: Tensor
    cost: Tensor
    memory: Memory


@dataclass(frozen=True)
class _Ledger:
    """The answers of the rows that have ended, in the order of the batch."""

    solution: Solution

    def close(self, running: _Running, which: Tensor, status: Status) -> _Running:
        """Books the marked rows and returns the others; a row within the tolerance has converged, however it ended."""
        if not which.any():
            return running
        done = running[which]
        self.solution.status[done.index] = torch.where(done.reached, int(Status.CONVERGED), int(status))
        self.solution.residual_rms[done.index] = done.rms
        for name in ("x", "y", "iterations", "cost"):
            getattr(self.solution, name)[done.index] = getattr(done, name)
        return running[~which]


def solve(
    objective: Objective,
    observation: Tensor,
    start: Tensor,
    method: Method,
    rules: Rules,
    history: bool = False,
    progress: Progress | None = None,
) -> Solution:
    """Minimises Phi over C from ``start``, each row on its own; a finished row is charged nothing more.

    Args:
        observation: y* (B, m); start: (B, n), projected onto C first.

    Returns:
        The best point found for every row, with its status.
    """
    running = _begin(objective, observation, start, method, rules)
    ledger = _Ledger(_blank(running))
    running = ledger.close(running, ~running.rms.isfinite(), Status.NONFINITE)
    trace = [(running.index, running.rms)]
    running = _settle(ledger, running, rules)
    for _ in range(rules.max_iterations):
        if not len(running.index):
            break
        running, stalled = _advance(running, objective, method, rules)
        trace.append((running.index, running.rms))
        running = ledger.close(running, stalled, Status.STALLED)
        running = _settle(ledger, running, rules)
        if progress is not None:
            progress(len(observation) - len(running.index), len(observation))
    ledger.close(running, torch.ones_like(running.reached), Status.MAX_ITERATIONS)
    return replace(ledger.solution, history=_joined(trace, len(observation))) if history else ledger.solution


def _begin(objective: Objective, observation: Tensor, start: Tensor, method: Method, rules: Rules) -> _Running:
    x = objective.constraint.project(start)
    y = objective.forward(x)
    index = torch.arange(len(x), device=x.device)
    rms = _rms(objective, y - observation)
    spare, iterations = torch.full_like(index, rules.refinements), torch.zeros_like(index)
    cost = charge(x, forward=1).repeat(len(x), 1)
    memory = method.begin(objective, x)
    return _Running(index, observation, x, y, rms, rms <= rules.tolerance, spare, iterations, cost, memory)


def _blank(running: _Running) -> Solution:
    status = torch.full_like(running.index, Status.MAX_ITERATIONS)
    x, y, rms = (torch.empty_like(tensor) for tensor in (running.x, running.y, running.rms))
    return Solution(x, y, rms, status, torch.empty_like(running.iterations), torch.empty_like(running.cost))


def _settle(ledger: _Ledger, running: _Running, rules: Rules) -> _Running:
    """Lets those rows go that are within the tolerance and have been refined."""
    left = ledger.close(running, running.reached & (running.spare == 0), Status.CONVERGED)
    return replace(left, spare=left.spare - left.reached.long()) if rules.refinements else left


def _advance(running: _Running, objective: Objective, method: Method, rules: Rules) -> tuple[_Running, Tensor]:
    """One iteration of the running rows, and which of them it leaves with nowhere to go."""
    at = Iterate.at(objective, running.x, running.observation)
    proposal = method.propose(objective, at, running.memory)
    found = rules.line_search.search(objective, running.observation, at, proposal.curve)
    memory, may_retry = method.learn(proposal.memory, found.alpha, found.accepted)
    rms = _rms(objective, found.y - running.observation)
    after = replace(
        running,
        x=found.x,
        y=found.y,
        rms=rms,
        reached=running.reached | (rms <= rules.tolerance),
        iterations=running.iterations + 1,
        cost=running.cost + proposal.cost + _searched(found, method),
        memory=memory,
    )
    crawling = found.accepted & (rms.square() > (1.0 - rules.least_decrease) * 2.0 * at.misfit)
    return after, (~found.accepted & ~may_retry) | (crawling & ~after.reached)


def _searched(found: Found, method: Method) -> Tensor:
    per_trial = charge(found.x, forward=1, inverse=method.inverses_per_trial)
    return found.trials[:, None] * per_trial + charge(found.x, forward=1, vjp=1)


def _joined(trace: list[tuple[Tensor, Tensor]], batch: int) -> Tensor:
    """rms per iteration (B, T + 1), NaN once a row has ended."""
    out = torch.full((batch, len(trace)), torch.nan, dtype=trace[0][1].dtype, device=trace[0][1].device)
    for column, (index, rms) in enumerate(trace):
        out[index, column] = rms
    return out


def _rms(objective: Objective, residual: Tensor) -> Tensor:
    return (residual / objective.weight).square().mean(1).sqrt()


__all__ = ["CHARGES", "Progress", "Rules", "Solution", "Status", "solve"]
