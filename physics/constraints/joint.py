"""Several sets at once, where the closest common point is one number away: a root found per row in a fixed number of
halvings, so that cost and answer are the same in any batch. Dykstra's algorithm needs hundreds of rounds for these."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from physics.constraints.base import Constraint
from physics.constraints.bounds import Bounded
from physics.constraints.curved import L2Ball, Simplex

HALVINGS = 60
"""Halvings of the bracket: more than float64 can tell apart."""


class Joint(Constraint):
    """What every intersection has in common, whichever way it projects."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Constraint, ...]:
        """The sets that are intersected."""

    def contains(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        return torch.stack([part.contains(x, tolerance) for part in self.parts]).all(0)

    def held(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        return torch.stack([part.held(x, tolerance) for part in self.parts]).any(0)

    def active(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        # A component held by two parts counts once; what a part counts beyond its components (a ball) is added.
        jointly = [part.active(x, tolerance) - part.held(x, tolerance).sum(-1) for part in self.parts]
        return self.held(x, tolerance).sum(-1) + torch.stack(jointly).sum(0)


@dataclass(frozen=True)
class BoundedSimplex(Joint):
    """A simplex within bounds: clamp(x - theta, max(lower, 0), upper), theta such that the sum is the total."""

    simplex: Simplex
    bounds: Bounded

    @property
    def parts(self) -> tuple[Constraint, ...]:
        return self.simplex, self.bounds

    def span(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(lower, upper), each (n,): the bounds that the simplex itself implies included."""
        lower, upper = self.bounds.bounds(x)
        shape = x.shape[-1:]
        return lower.clamp_min(0.0).expand(shape), upper.clamp_max(max(self.simplex.total, 0.0)).expand(shape)

    def project(self, x: Tensor) -> Tensor:
        exact = x.double()
        lower, upper = self.span(exact)
        theta = self._root(exact.detach(), lower, upper)
        free = (exact - theta > lower) & (exact - theta < upper)
        # With the free components known, theta has a closed form: exact, and differentiable.
        held = torch.where(free, 0.0, torch.clamp(exact - theta, lower, upper).detach())
        total = (torch.where(free, exact, 0.0) + held).sum(-1, keepdim=True) - self.simplex.total
        theta = torch.where(free.any(-1, keepdim=True), total / free.sum(-1, keepdim=True).clamp_min(1), theta)
        return self.bounds.project(torch.clamp(exact - theta, lower, upper).to(x.dtype))

    def _root(self, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        low, high = (x - upper).amin(-1, keepdim=True), (x - lower).amax(-1, keepdim=True)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = torch.clamp(x - middle, lower, upper).sum(-1, keepdim=True) > self.simplex.total
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return (low + high) / 2


@dataclass(frozen=True)
class BallCut(Joint):
    """A ball and one other set S with an exact projector: P_S(center + t (x - center)), for the largest t <= 1 that
    lands in the ball. (The multiplier of the ball pulls x towards its center; the distance grows with t.)"""

    ball: L2Ball
    inner: Constraint

    @property
    def parts(self) -> tuple[Constraint, ...]:
        return self.ball, self.inner

    def project(self, x: Tensor) -> Tensor:
        exact = x.double()
        center = self.ball.center_like(exact)
        step = exact - center
        with torch.no_grad():
            t = self._largest_step(center, step)
        return self.inner.project((center + t * step).to(x.dtype))

    def _largest_step(self, center: Tensor, step: Tensor) -> Tensor:
        """(B, 1) in [0, 1]: one where the ball does not matter."""

        def outside(t: Tensor) -> Tensor:
            trial = self.inner.project(center + t * step)
            distance: Tensor = torch.linalg.vector_norm(trial - center, dim=-1, keepdim=True)
            return distance > self.ball.radius

        low = torch.zeros_like(step[..., :1])
        high = torch.ones_like(low)
        low = torch.where(outside(high), low, high)
        if bool((low == 1.0).all()):
            return low
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            beyond = outside(middle)
            low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        return low
