"""Projected gradient descent: the paper's x-GD with a fixed start step, and the one scaled to the problem."""

from dataclasses import dataclass

import torch
from torch import Tensor

from solvers.method import Iterate, Memory, Memoryless, Objective, OneShot, Proposal, Straight, charge


@dataclass(frozen=True)
class FixedStepGradient(Memoryless):
    """x - alpha * step * grad Phi. With step 1 on the mean misfit this is x-GD as published."""

    step: float = 1.0

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The straight curve along the negative gradient."""
        return Proposal(Straight(at.x, -self.step * at.gradient), memory, charge())


@dataclass(frozen=True)
class LastPoint(Memory):
    """The previous x and gradient (B, n), and whether there is one (B, 1)."""

    x: Tensor
    gradient: Tensor
    known: Tensor


def cauchy_step(objective: Objective, at: Iterate) -> Tensor:
    """The exact minimiser along -grad of the linearised misfit, |g|^2 / (|J g / w|^2 / m): (B, 1)."""
    pushed = objective.pushed(at.x, at.gradient) / objective.weight
    return at.gradient.square().sum(1, keepdim=True) / pushed.square().mean(1, keepdim=True).clamp_min(1e-30)


@dataclass(frozen=True)
class BarzilaiBorwein:
    """Gradient descent with step s.s / s.y from the last move, the Cauchy step first (Barzilai and Borwein 1988)."""

    inverses_per_trial: int = 0

    def begin(self, objective: Objective, x: Tensor, one_shot: OneShot) -> Memory:
        """No last point yet."""
        return LastPoint(x.clone(), torch.zeros_like(x), torch.zeros(len(x), 1, dtype=torch.bool, device=x.device))

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The straight curve along the scaled negative gradient."""
        assert isinstance(memory, LastPoint)  # noqa: S101  the loop hands back what begin made
        s, y = at.x - memory.x, at.gradient - memory.gradient
        curvature = (s * y).sum(1, keepdim=True)
        usable = memory.known & (curvature > 1e-12 * s.square().sum(1, keepdim=True))
        secant = s.square().sum(1, keepdim=True) / torch.where(usable, curvature, 1.0)
        step = torch.where(usable, secant, cauchy_step(objective, at))
        now = LastPoint(at.x, at.gradient, torch.ones_like(memory.known))
        return Proposal(Straight(at.x, -step * at.gradient), now, charge(jvp=1))

    def learn(self, memory: Memory, alpha: Tensor, accepted: Tensor) -> tuple[Memory, Tensor]:
        """A failed line search ends the row."""
        return memory, accepted
