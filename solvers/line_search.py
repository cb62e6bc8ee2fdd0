"""Armijo backtracking along a method's curve, projected and relaxed, row by row (Nocedal and Wright, ch. 3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from solvers.method import Curve, Iterate, Objective, Rows

ROUNDING = 64  # units in the last place of the misfit that are not taken for a decrease


@dataclass(frozen=True)
class Trial(Rows):
    """Points on their curves: x (B, n), f(x) (B, m), residual (B, m), misfit (B,)."""

    x: Tensor
    y: Tensor
    residual: Tensor
    misfit: Tensor


@dataclass(frozen=True)
class Found:
    """Where the search ended: alpha (B, 1), accepted (B,), and how many shorter steps each row tried.

    ``shorter`` is None where every row took the full step.
    """

    at: Trial
    alpha: Tensor
    accepted: Tensor
    shorter: Tensor | None

    @property
    def trials(self) -> Tensor:
        """Points tried per row (B,)."""
        return torch.ones_like(self.accepted, dtype=torch.long) if self.shorter is None else 1 + self.shorter


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

    def search(
        self, objective: Objective, observation: Tensor, at: Iterate, curve: Curve, full: Trial, accepted: Tensor
    ) -> Found:
        """Tries ever shorter steps for the rows that still want one; an accepted row is computed no further.

        Args:
            full: the curve's points at alpha = 1; accepted: which rows (B,) take them (`attempt`).
        """
        alpha = at.x.new_ones(len(at.x), 1)
        if accepted.all():  # the common case, without a copy
            return Found(full, alpha, accepted, None)
        stayed = Trial(at.x, at.y, at.residual, at.misfit)
        best, accepted = _chosen(accepted, full, stayed), accepted.clone()
        shorter = torch.zeros_like(accepted, dtype=torch.long)
        own = (~accepted).nonzero()[:, 0]
        rows = objective.sizes.fill(own)
        observation, at, curve = observation[rows], at[rows], curve[rows]
        for halving in range(1, self.halvings + 1):
            alpha[rows] *= self.shrink
            trial, enough = self.attempt(objective, observation, at, curve(alpha[rows]))
            shorter[rows] = halving
            _store(best, rows, trial, enough)
            accepted[rows] = enough
            own = (~enough[: len(own)]).nonzero()[:, 0]
            if not len(own):
                break
            rest = objective.sizes.fill(own)
            rows, observation, at, curve = rows[rest], observation[rest], at[rest], curve[rest]
        return Found(best, alpha, accepted, shorter)

    def attempt(self, objective: Objective, observation: Tensor, at: Iterate, aim: Tensor) -> tuple[Trial, Tensor]:
        """The point that aiming there leads to, and which rows accept it (B,)."""
        x = objective.project(aim if self.relaxation == 1.0 else at.x + self.relaxation * (aim - at.x))
        y = objective.forward(x)
        residual = y - observation
        misfit = objective.misfit(residual)
        descent = torch.linalg.vecdot(x - at.x, at.gradient).clamp_(max=0)
        enough = misfit <= torch.add(at.misfit, descent, alpha=self.slope)
        enough &= misfit < at.misfit * (1.0 - ROUNDING * torch.finfo(misfit.dtype).eps)
        return Trial(x, y, residual, misfit), enough


def _chosen(which: Tensor, these: Trial, those: Trial) -> Trial:
    column = which[:, None]
    return Trial(
        torch.where(column, these.x, those.x),
        torch.where(column, these.y, those.y),
        torch.where(column, these.residual, those.residual),
        torch.where(which, these.misfit, those.misfit),
    )


def _store(best: Trial, rows: Tensor, trial: Trial, enough: Tensor) -> None:
    """Writes the trials that were enough into their rows."""
    taken = enough.nonzero()[:, 0]
    if not len(taken):
        return
    better, rows = trial[taken], rows[taken]
    for name in ("x", "y", "residual", "misfit"):
        getattr(best, name)[rows] = getattr(better, name)
