"""One iteration's full step as a function of tensors, so that an engine may have it, or several, as a single graph.

    gradient J_f(x)^T r / (m w^2)   ->   the method's curve   ->   its point at alpha = 1   ->   f there   ->   enough?

Most rows of most iterations need nothing more. Calls between maps this small cost more than the maps themselves; a
graph is traced from the very function that runs without one, so that there is one step, in two forms.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from models.engine import Tensors
from solvers.dipg import DIPG, InverseCurve, Reached
from solvers.line_search import Armijo, Trial
from solvers.method import Iterate, Memory, Method, Objective, Proposal


class Limits(NamedTuple):
    """How many steps may be taken unasked, while all rows accept them and none has news.

    News is a misfit at or below ``level``, the tolerance, or above ``pace`` times the one before, a stall.
    """

    most: int
    level: float
    pace: float


ONE = Limits(1, 0.0, 1.0)


@dataclass(frozen=True)
class Step:
    """From where, along which curve, and to where: the trial at alpha = 1, and which rows accept it (B,).

    It is the last of ``taken``; all rows have accepted those before it.
    """

    at: Iterate
    proposal: Proposal
    trial: Trial
    enough: Tensor
    taken: int = 1


@dataclass(frozen=True)
class CompiledStep:
    """D-IPG's full steps by an engine's graph, which holds for this form of the method and this search alone."""

    method: DIPG
    search: Armijo
    run: Tensors

    def take(self, objective: Objective, observation: Tensor, here: Trial, memory: Reached, limits: Limits) -> Step:
        """The last of the steps, from the outputs of `solvers.looped`."""
        state = (here.x, here.y, here.residual, here.misfit)
        found = self.run(*state, observation, memory.one_shot, *numbers_of(limits))
        taken, x, y, residual, misfit = found[:5]
        enough, gradient, *shift = found[9:]
        curve = InverseCurve(objective.inverse, y, residual, memory.one_shot, shift[0] if shift else None)
        proposal = Proposal(curve, memory, self.method.price)
        return Step(Iterate(x, y, residual, misfit, gradient), proposal, Trial(*found[5:9]), enough, int(taken))


@lru_cache(maxsize=64)
def numbers_of(limits: Limits) -> tuple[Tensor, ...]:
    """As a graph takes them."""
    return torch.tensor(limits.most), torch.tensor(limits.level), torch.tensor(limits.pace)


def full_step(
    objective: Objective,
    method: Method,
    search: Armijo,
    observation: Tensor,
    here: Trial,
    memory: Memory,
    limits: Limits = ONE,
) -> Step:
    """By the engine's graph where it has one for this method and search, else one step map by map."""
    compiled = objective.compiled
    if compiled is not None and isinstance(memory, Reached) and (compiled.method, compiled.search) == (method, search):
        return compiled.take(objective, observation, here, memory, limits)
    at = Iterate(here.x, here.y, here.residual, here.misfit, objective.gradient(here.x, here.residual))
    proposal = method.propose(objective, at, memory)
    trial, enough = search.attempt(objective, observation, at, proposal.curve.full())
    return Step(at, proposal, trial, enough)


def step_of_tensors(objective: Objective, method: DIPG, search: Armijo) -> Tensors:
    """`full_step` as a function to trace; the published form has no shift.

    (x, y, residual, misfit, y*, g(y*)) -> (x, y, residual, misfit, enough, gradient, shift)
    """

    def run(x: Tensor, y: Tensor, residual: Tensor, misfit: Tensor, observation: Tensor, one_shot: Tensor) -> object:
        step = full_step(objective, method, search, observation, Trial(x, y, residual, misfit), Reached(one_shot))
        assert isinstance(step.proposal.curve, InverseCurve)  # noqa: S101  D-IPG proposes no other
        shift = step.proposal.curve.shift
        to = step.trial
        reached = (to.x, to.y, to.residual, to.misfit, step.enough, step.at.gradient)
        return reached if shift is None else (*reached, shift)

    return run  # type: ignore[return-value]
