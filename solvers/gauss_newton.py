"""Gauss-Newton and Levenberg-Marquardt, batched: one damped least-squares step per row (Nocedal and Wright, ch. 10).

In z = x / scale and with residuals in units of w, the step solves (J^T J + lambda I) p = -J^T r over the components
that the constraint leaves free; lambda = damping * mean diag(J^T J). The factorisation runs in float64 whatever x is,
so that a float32 service loses nothing to the squared condition number.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from solvers.method import (
    Cost,
    Iterate,
    Memory,
    Memoryless,
    Objective,
    OneShot,
    Proposal,
    Straight,
    charge,
    free_components,
)

DENSE_UP_TO = 256  # unknowns above which the matrix-free solver is the default; at 512 it is 15 times as fast


class LinearSolver(Protocol):
    """Solves the damped normal equations for all rows; returns directions (B, n) and their cost."""

    def direction(self, objective: Objective, at: Iterate, damping: Tensor) -> tuple[Tensor, Cost]:
        """damping (B, 1), relative to the mean diagonal of J^T J."""
        ...


@dataclass(frozen=True)
class Dense:
    """Explicit Jacobian and batched Cholesky, in the smaller of the primal (n x n) and dual (m x m) forms."""

    def direction(self, objective: Objective, at: Iterate, damping: Tensor) -> tuple[Tensor, Cost]:
        """p = -(J^T J + lambda I)^-1 J^T r, or equally -J^T (J J^T + lambda I)^-1 r."""
        n, m = at.x.shape[1], at.y.shape[1]
        unit = objective.scale * free_components(objective, at)
        J = (objective.jacobian(at.x) * unit[:, None] / objective.weight[:, None]).double()
        r = (at.residual / objective.weight).double()[..., None]
        damping = damping.double() * J.square().sum((1, 2))[:, None] / n + 1e-300
        if n <= m:
            p = -_solve_damped(J.mT @ J, damping, J.mT @ r)
        else:
            p = -(J.mT @ _solve_damped(J @ J.mT, damping, r))
        derivatives = {"jvp": n} if n <= m else {"vjp": m}
        return p[..., 0].to(at.x) * unit, charge(linear_solve=1, **derivatives)


def _solve_damped(A: Tensor, damping: Tensor, b: Tensor) -> Tensor:
    diagonal = torch.diagonal_scatter(A, A.diagonal(dim1=1, dim2=2) + damping, dim1=1, dim2=2)
    factor, failed = torch.linalg.cholesky_ex(diagonal)
    solution: Tensor = torch.cholesky_solve(b, factor)
    return torch.where((failed == 0)[:, None, None], solution, torch.zeros_like(solution))


@dataclass(frozen=True)
class ConjugateGradient:
    """Matrix-free: conjugate gradients on the normal equations, each product one jvp and one vjp.

    A row stops when its residual has fallen by ``tolerance`` and is then left untouched. A tenth is an inexact Newton
    step: to the noise level it takes about half the time that a thousandth does, on every problem here.
    """

    tolerance: float = 0.1
    max_products: int = 60

    def direction(self, objective: Objective, at: Iterate, damping: Tensor) -> tuple[Tensor, Cost]:
        """p with |(J^T J + lambda I) p + J^T r| <= tolerance |J^T r|."""
        unit = objective.scale * free_components(objective, at)
        square_weight = objective.weight.square() * len(objective.weight)

        def product(v: Tensor) -> Tensor:
            return unit * objective.pulled(at.x, objective.pushed(at.x, unit * v) / square_weight)

        residual = -unit * at.gradient
        target = self.tolerance * residual.norm(dim=1)
        curved = product(residual)
        strongest = (residual * curved).sum(1, keepdim=True) / residual.square().sum(1, keepdim=True).clamp_min(1e-30)
        shift = damping * strongest
        p, v, products = (
            torch.zeros_like(residual),
            residual,
            torch.ones(len(residual), dtype=torch.long, device=residual.device),
        )
        for _ in range(self.max_products):
            open_ = residual.norm(dim=1) > target
            if not open_.any():
                break
            products += open_
            Av = product(v) + shift * v
            rr = residual.square().sum(1, keepdim=True)
            length = torch.where(open_[:, None], rr / (v * Av).sum(1, keepdim=True).clamp_min(1e-30), 0.0)
            p, residual = p + length * v, residual - length * Av
            v = torch.where(
                open_[:, None], residual + residual.square().sum(1, keepdim=True) / rr.clamp_min(1e-30) * v, v
            )
        return p * unit, charge(jvp=products, vjp=products, linear_solve=1)


@dataclass(frozen=True)
class GaussNewton(Memoryless):
    """The undamped step, save for the ridge that keeps the factorisation of a rank-deficient J^T J defined."""

    ridge: float = 1e-8
    linear_solver: LinearSolver = Dense()

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The straight curve along the Gauss-Newton step."""
        direction, cost = self.linear_solver.direction(objective, at, torch.full_like(at.misfit, self.ridge)[:, None])
        return Proposal(Straight(at.x, direction), memory, cost)


@dataclass(frozen=True)
class Damping(Memory):
    """The current relative damping (B, 1)."""

    value: Tensor


@dataclass(frozen=True)
class LevenbergMarquardt:
    """The damped step, its damping per row: relaxed after a full step, raised after a short or failed one."""

    initial: float = 1e-2
    relax: float = 0.2
    raise_short: float = 3.0
    raise_failed: float = 10.0
    lowest: float = 1e-9
    highest: float = 1e4
    linear_solver: LinearSolver = Dense()
    inverses_per_trial: int = 0

    def begin(self, objective: Objective, x: Tensor, one_shot: OneShot) -> Memory:
        """Every row starts at the same damping."""
        return Damping(torch.full((len(x), 1), self.initial, dtype=x.dtype, device=x.device))

    def propose(self, objective: Objective, at: Iterate, memory: Memory) -> Proposal:
        """The straight curve along the damped step."""
        assert isinstance(memory, Damping)  # noqa: S101  the loop hands back what begin made
        direction, cost = self.linear_solver.direction(objective, at, memory.value)
        return Proposal(Straight(at.x, direction), memory, cost)

    def learn(self, memory: Memory, alpha: Tensor, accepted: Tensor) -> tuple[Memory, Tensor]:
        """Adapts the damping; a row whose search failed tries again with more of it, up to ``highest``."""
        assert isinstance(memory, Damping)  # noqa: S101
        change = torch.where(alpha >= 1.0, self.relax, self.raise_short)
        change = torch.where(accepted[:, None], change, self.raise_failed)
        value = (memory.value * change).clamp_min(self.lowest)
        return Damping(value), (value <= self.highest)[:, 0]
