"""Armijo backtracking along a method's curve, projected and relaxed, row by row (Nocedal and Wright, ch. 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from solvers.method import Curve, Iterate, Objective

ROUNDING = 64  # units in the last place of the misfit that are not taken for a decrease


@dataclass(frozen=True)
class Found:
    """Where the search ended: x (B, n), f(x) (B, m), alpha (B, 1), accepted (B,), trials per row (B,)."""

    x: Tensor
    y: Tensor
    alpha: Tensor
    accepted: Tensor
    trials: Tensor


@dataclass(frozen=True)
class Armijo:
    """Accept x+ = P((1 - rho) x + rho x(alpha)) when Phi(x+) <= Phi(x) + slope * min(0, grad Phi . (x+ - x)).

    alpha starts at 1 and is multiplied by ``shrink`` at most ``halvings`` times. A curve that is no descent direction
    must still lower the misfit, hence the min, and by more than rounding: else rounding would decide which way a row
    goes (from a fixed point of the curve, or along a direction that leaves no trace in the data).
    """

    slope: float = 1e-4
    shrink: float = 0.5
    halvings: int = 8
    relaxation: float = 1.0

    def search(self, objective: Objective, observation: Tensor, at: Iterate, curve: Curve) -> Found:
        """Tries ever shorter steps for the rows that still want one; an accepted row is computed no further."""
        alpha = torch.ones(len(at.x), 1, dtype=at.x.dtype, device=at.x.device)
        x, y, accepted = self._try(objective, observation, at, curve, alpha)
        trials = torch.ones_like(accepted, dtype=torch.long)
        if accepted.all():  # the common case, without a copy
            return Found(x, y, alpha, accepted, trials)
        x, y = torch.where(accepted[:, None], x, at.x), torch.where(accepted[:, None], y, at.y)
        rows = (~accepted).nonzero()[:, 0]
        alpha[rows] *= self.shrink
        observation, at, curve = observation[rows], at[rows], curve[rows]
        for _ in range(self.halvings):
            trial, reached, enough = self._try(objective, observation, at, curve, alpha[rows])
            trials[rows] += 1
            x[rows[enough]], y[rows[enough]], accepted[rows[enough]] = trial[enough], reached[enough], True
            if enough.all():
                break
            rest = ~enough
            rows, observation, at, curve = rows[rest], observation[rest], at[rest], curve[rest]
            alpha[rows] *= self.shrink
        return Found(x, y, alpha, accepted, trials)

    def _try(
        self, objective: Objective, observation: Tensor, at: Iterate, curve: Curve, alpha: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One point of the curve: x (B, n), f(x) (B, m), and which rows accept it (B,)."""
        trial = objective.constraint.project(at.x + self.relaxation * (curve(alpha) - at.x))
        reached = objective.forward(trial)
        misfit = objective.misfit(reached - observation)
        enough = misfit <= at.misfit + self.slope * ((trial - at.x) * at.gradient).sum(1).clamp(max=0)
        enough &= misfit < (1.0 - ROUNDING * torch.finfo(misfit.dtype).eps) * at.misfit
        return trial, reached, enough
