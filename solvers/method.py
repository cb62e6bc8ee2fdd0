"""What a solver is made of: the objective, where the rows stand, and a method that proposes a curve from there.

    Phi(x) = 1/2 mean_i ((f(x) - y*)_i / w_i)^2   over the problem's set C,   w the unit in which residuals count.

A method is a curve alpha -> x(alpha): straight for gradient, Gauss-Newton, Levenberg-Marquardt and L-BFGS, through the
learned inverse for D-IPG. That is the whole difference between methods.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import torch
from torch import Tensor
from torch.func import jvp, vjp

from models.jacobian import jacobian
from models.rows import FOURS, Sizes
from physics.constraints import Constraint
from physics.problem import Derivatives

if TYPE_CHECKING:
    from solvers.step import CompiledStep

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """Tensors that share a leading batch dimension; indexing selects rows of all of them, nested ones too."""

    def __getitem__(self, rows: Tensor) -> Self:
        """The rows at these positions (long), in their order."""
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(_picked(value, rows) for value in values))


def _picked(value: object, rows: Tensor) -> object:
    if isinstance(value, Tensor):
        return value.index_select(0, rows)
    return value[rows] if isinstance(value, Rows) else value


@dataclass(frozen=True)
class Objective:
    """The engine below the loop: f with its derivatives, the learned inverse g, the set C, the residual unit w (m,).

    Without ``derivatives`` autograd makes them; its overhead counts at batch 1. ``differentiable`` is f as PyTorch
    knows it, where ``forward`` is another engine's; ``compiled`` is a whole step, where the engine has one. ``sizes``
    are the numbers of rows that the engine is given.
    """

    forward: Map
    inverse: Map
    constraint: Constraint
    weight: Tensor
    scale: Tensor
    derivatives: Derivatives | None = None
    differentiable: Map | None = None
    compiled: "CompiledStep | None" = None
    sizes: Sizes = FOURS

    @cached_property
    def project(self) -> Map:
        """The projection onto C, for tensors like ``scale``."""
        return self.constraint.projector(self.scale)

    @cached_property
    def _curvature(self) -> Tensor:
        """d^2 Phi / dr_i^2 = 1 / (m w_i^2), (m,)."""
        return 1.0 / (self.weight.square() * len(self.weight))

    @cached_property
    def _half_curvature(self) -> Tensor:
        return 0.5 * self._curvature

    @cached_property
    def _traceable(self) -> Map:
        return self.differentiable or self.forward

    def misfit(self, residual: Tensor) -> Tensor:
        """Phi per row from the residual f(x) - y* (B, m)."""
        return (residual * residual * self._half_curvature).sum(1)

    def gradient(self, x: Tensor, residual: Tensor) -> Tensor:
        """grad Phi (B, n) at x (B, n), whose residual is (B, m)."""
        cotangent = residual * self._curvature
        if self.derivatives is not None:
            return self.derivatives.adjoint(x, cotangent)
        with torch.enable_grad():  # plain autograd: a third of torch.func.vjp's overhead, which counts at batch 1
            leaf = x.detach().requires_grad_(True)
            y = self._traceable(leaf)
        (gradient,) = torch.autograd.grad(y, leaf, cotangent)
        return gradient

    def pushed(self, x: Tensor, tangent: Tensor) -> Tensor:
        """J_f(x) tangent, (B, m)."""
        out: Tensor = jvp(self._traceable, (x,), (tangent,))[1]
        return out

    def pulled(self, x: Tensor, cotangent: Tensor) -> Tensor:
        """J_f(x)^T cotangent, (B, n)."""
        if self.derivatives is not None:
            return self.derivatives.adjoint(x, cotangent)
        out: Tensor = vjp(self._traceable, x)[1](cotangent)[0]
        return out

    def jacobian(self, x: Tensor) -> Tensor:
        """J_f (B, m, n), by the cheaper mode: one tangent per unknown, or one cotangent per observed value."""
        return (
            jacobian(self._traceable, x, len(self.weight)) if self.derivatives is None else self.derivatives.jacobian(x)
        )


@dataclass(frozen=True)
class Iterate(Rows):
    """Where the rows stand: x (B, n), y = f(x) (B, m), residual y - y* (B, m), misfit (B,), gradient (B, n)."""

    x: Tensor
    y: Tensor
    residual: Tensor
    misfit: Tensor
    gradient: Tensor

    @classmethod
    def at(cls, objective: Objective, x: Tensor, observation: Tensor) -> "Iterate":
        """Evaluates f and its adjoint."""
        y = objective.forward(x)
        residual = y - observation
        return cls(x, y, residual, objective.misfit(residual), objective.gradient(x, residual))


@dataclass(frozen=True)
class Curve(Rows):
    """Trial points before relaxation and projection; selecting rows narrows it to them."""

    def __call__(self, alpha: Tensor) -> Tensor:
        """Step sizes (B, 1) -> x (B, n)."""
        raise NotImplementedError

    def full(self) -> Tensor:
        """The point at alpha = 1, (B, n): where every search begins, and mostly ends."""
        raise NotImplementedError


@dataclass(frozen=True)
class Straight(Curve):
    """x + alpha * direction."""

    x: Tensor
    direction: Tensor

    def __call__(self, alpha: Tensor) -> Tensor:
        return self.x + alpha * self.direction

    def full(self) -> Tensor:
        return self.x + self.direction


@dataclass(frozen=True)
class Memory(Rows):
    """What a method remembers between iterations, per row; nothing unless a method says so."""


CHARGES = ("forward", "vjp", "jvp", "inverse", "linear_solve")
Cost = tuple[int | Tensor, ...]
"""Evaluations in the order of CHARGES: one number for all rows, or one for each (B,)."""


def charge(**counts: int | Tensor) -> Cost:
    """The cost of so many evaluations, and of none of the others."""
    return tuple(counts.get(name, 0) for name in CHARGES)


def cost_tensor(cost: Cost, device: torch.device) -> Tensor:
    """(1, 5), or (B, 5) where a count differs by row."""
    out = _fixed_cost(tuple(count if isinstance(count, int) else 0 for count in cost), device)
    for column, count in enumerate(cost):
        if isinstance(count, Tensor):
            out = out + count[:, None] * _fixed_cost(tuple(int(i == column) for i in range(len(cost))), device)
    return out


@lru_cache(maxsize=256)
def _fixed_cost(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Made once: methods charge the same in every iteration. Added to, never changed."""
    return torch.tensor([counts], device=device)


@dataclass(frozen=True)
class Proposal:
    """A curve from here, the memory it leaves, and what it cost each row beyond the iterate itself."""

    curve: Curve
    memory: Memory
    cost: Cost


OneShot = Callable[[], Tensor]


class Method(Protocol):
    """Proposes curves. Frozen and shared by all rows; whatever changes per row lives in its Memory."""

    @property
    def inverses_per_trial(self) -> int:
        """Evaluations of g for g(y*), and for each point of the curve short of its end: 1 for D-IPG, 0 for others."""
        ...

    def begin(self, objective: Objective, x: Tensor, one_shot: OneShot) -> Memory:
        """The memory before the first iteration from x (B, n); ``one_shot()`` is g(y*), for those who need it."""
        ...

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The curve from here."""
        ...

    def learn(self, memory: Memory, alpha: Tensor, accepted: Tensor) -> tuple[Memory, Tensor]:
        """After the line search: the new memory, and which rows (B,), if rejected, may try again from where they are.

        Args:
            alpha: accepted step sizes (B, 1); accepted: which rows found one (B,).
        """
        ...


@dataclass(frozen=True)
class Memoryless:
    """A method that remembers nothing and gives up when its line search does."""

    inverses_per_trial: ClassVar[int] = 0

    def begin(self, objective: Objective, x: Tensor, one_shot: OneShot) -> Memory:
        """Nothing to remember."""
        return Memory()

    def learn(self, memory: Memory, alpha: Tensor, accepted: Tensor) -> tuple[Memory, Tensor]:
        """A failed line search ends the row."""
        return memory, accepted


def free_components(objective: Objective, at: Iterate) -> Tensor:
    """1 where a short projected gradient step moves the unknown, 0 where C holds it (B, n) (Bertsekas 1982).

    Newton-like steps are taken in the free components; in the others the constraint, not the data, decides. The step is
    measured in ``scale``, so that no unit is favoured; one too small to change x in its precision holds nothing.
    """
    slope = objective.scale * at.gradient
    step = 1e-3 * objective.scale * slope / slope.abs().amax(1, keepdim=True).clamp_min(1e-30)
    tried = at.x - step
    held = (tried != at.x) & (objective.project(tried) == at.x)
    return (~held).to(at.x)
