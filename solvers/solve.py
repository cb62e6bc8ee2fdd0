"""The one loop: every method, under the same rules, on every row of a batch at once and on each row alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor

from solvers.line_search import Armijo, Found
from solvers.method import CHARGES, Iterate, Memory, Method, Objective, charge, put_rows


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


@dataclass
class _State:
    """The loop's variables for all rows; ``rows`` are those still running, ``spare`` their refinements left."""

    x: Tensor
    y: Tensor
    rms: Tensor
    status: Tensor
    iterations: Tensor
    cost: Tensor
    rows: Tensor
    spare: Tensor
    history: list[Tensor] = field(default_factory=list)

    def finish(self, which: Tensor, status: Status) -> None:
        """Ends the running rows marked in which (len(rows),); a row that has converged stays converged."""
        rows = self.rows[which]
        self.status[rows] = torch.where(self.status[rows] == Status.CONVERGED, self.status[rows], int(status))
        self.rows = self.rows[~which]


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
    state = _begin(objective, observation, start, rules)
    memory = method.begin(objective, state.x)
    _settle(state, rules, state.rows, history)
    for _ in range(rules.max_iterations):
        ran = state.rows
        if not len(ran):
            break
        _advance(state, objective, observation, method, memory, rules)
        _settle(state, rules, ran, history)
        if progress is not None:
            progress(len(observation) - len(state.rows), len(observation))
    trace = torch.stack(state.history, dim=1) if history else None
    return Solution(state.x, state.y, state.rms, state.status, state.iterations, state.cost, trace)


def _begin(objective: Objective, observation: Tensor, start: Tensor, rules: Rules) -> _State:
    x = objective.constraint.project(start)
    y = objective.forward(x)
    rms = _rms(objective, y - observation)
    rows = torch.arange(len(x), device=x.device)
    state = _State(
        x.clone(),
        y,
        rms,
        torch.full_like(rows, Status.MAX_ITERATIONS),
        torch.zeros_like(rows),
        charge(len(x), forward=1),
        rows,
        torch.full_like(rows, rules.refinements),
    )
    state.finish(~rms.isfinite(), Status.NONFINITE)
    return state


def _settle(state: _State, rules: Rules, ran: Tensor, history: bool) -> None:
    """Records the residuals of the rows that ran and lets those go that have converged and been refined."""
    if history:
        trace = torch.full_like(state.rms, torch.nan)
        trace[ran] = state.rms[ran]
        state.history.append(trace)
    reached = state.rms[state.rows] <= rules.tolerance
    state.status[state.rows[reached]] = Status.CONVERGED
    refined = reached & (state.spare[state.rows] == 0)
    state.spare[state.rows[reached]] -= 1
    state.finish(refined, Status.CONVERGED)


def _advance(
    state: _State, objective: Objective, observation: Tensor, method: Method, memory: Memory, rules: Rules
) -> None:
    """One iteration of the running rows; memory is updated in place."""
    rows = state.rows
    at = Iterate.at(objective, state.x[rows], observation[rows])
    proposal = method.propose(objective, at, memory[rows])
    found = rules.line_search.search(objective, observation[rows], at, proposal.curve)
    learned, may_retry = method.learn(proposal.memory, found.alpha, found.accepted)
    put_rows(memory, rows, learned)
    state.x[rows], state.y[rows] = found.x, found.y
    state.rms[rows] = _rms(objective, found.y - observation[rows])
    state.iterations[rows] += 1
    state.cost[rows.cpu()] += proposal.cost + _searched(found, method)
    rms = state.rms[rows]
    crawling = found.accepted & (rms.square() > (1.0 - rules.least_decrease) * 2.0 * at.misfit)
    state.finish((~found.accepted & ~may_retry) | (crawling & (rms > rules.tolerance)), Status.STALLED)


def _searched(found: Found, method: Method) -> Tensor:
    trials = found.trials.cpu()
    return charge(len(trials), forward=trials + 1, vjp=1, inverse=trials * method.inverses_per_trial)


def _rms(objective: Objective, residual: Tensor) -> Tensor:
    return (residual / objective.weight).square().mean(1).sqrt()


__all__ = ["CHARGES", "Progress", "Rules", "Solution", "Status", "solve"]
