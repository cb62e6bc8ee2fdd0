"""The two sets whose components are tied together: the ball and the simplex. Both compute in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from physics.constraints.base import Constraint, Values, frozen_values, require_length, tensor_of


@dataclass(frozen=True)
class L2Ball(Constraint):
    """||x - center|| <= radius."""

    radius: float
    center: Values = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", float(self.radius))
        object.__setattr__(self, "center", frozen_values(self.center))

    def center_like(self, x: Tensor) -> Tensor:
        """The center in the dtype and on the device of x, () or (n,)."""
        center = frozen_values(self.center)
        require_length(center, x.shape[-1], "constraint.l2_ball.center")
        return tensor_of(center, x.dtype, x.device)

    def project(self, x: Tensor) -> Tensor:
        exact = x.double()
        center = self.center_like(exact)
        distance = self._distance(exact)
        outside = distance > self.radius
        # Inside, the division is by one: 0 / 0 at the center would poison the gradient even where it is not chosen.
        scale = self.radius / torch.where(outside, distance, 1.0)
        return torch.where(outside, center + scale * (exact - center), exact).to(x.dtype)

    def contains(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        beyond = self._distance(x.double()).squeeze(-1) - self.radius
        return beyond <= self._slack(x, tolerance)

    def held(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        return torch.zeros_like(x, dtype=torch.bool)

    def active(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        gap = (self._distance(x.double()) - self.radius).abs()
        return (gap <= self._slack(x, tolerance)).squeeze(-1).long()

    def _distance(self, exact: Tensor) -> Tensor:
        distance: Tensor = torch.linalg.vector_norm(exact - self.center_like(exact), dim=-1, keepdim=True)
        return distance

    def _slack(self, x: Tensor, tolerance: float) -> float:
        reach = self.radius + float(self.center_like(x.double()).abs().max())
        return tolerance * max(1.0, reach)


@dataclass(frozen=True)
class Simplex(Constraint):
    """x >= 0 and sum(x) = total.

    Projection: max(x - theta, 0) with theta found by sorting (Held, Wolfe and Crowder 1974).
    """

    total: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", float(self.total))

    def project(self, x: Tensor) -> Tensor:
        exact = x.double()
        # The projection does not see a common shift; taking the largest to zero keeps the running sums small.
        exact = exact - exact.detach().amax(-1, keepdim=True)
        falling = exact.sort(-1, descending=True).values
        excess = falling.cumsum(-1) - self.total
        rank = torch.arange(1, x.shape[-1] + 1, dtype=exact.dtype, device=x.device)
        support = (falling * rank > excess).sum(-1, keepdim=True).clamp_min(1)
        theta = excess.gather(-1, support - 1) / support
        return (exact - theta).clamp_min(0.0).to(x.dtype)

    def contains(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        exact, slack = x.double(), tolerance * max(1.0, self.total)
        return (exact >= -slack).all(-1) & ((exact.sum(-1) - self.total).abs() <= slack)

    def held(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        return x.abs() <= tolerance
