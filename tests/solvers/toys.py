"""Toy problems with known answers, and every method: the two axes of the solvers' grid."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from physics.constraints import Box, Constraint, Unconstrained
from solvers.dipg import DIPG
from solvers.gauss_newton import ConjugateGradient, GaussNewton, LevenbergMarquardt
from solvers.gradient import BarzilaiBorwein, FixedStepGradient
from solvers.lbfgs import LBFGS
from solvers.line_search import Armijo
from solvers.method import Map, Method, Objective
from solvers.solve import Rules

TIGHT = ConjugateGradient(tolerance=1e-10, max_products=200)
METHODS: dict[str, Method] = {
    "dipg": DIPG(),
    "dipg-published": DIPG(anchored=False),
    "gd": FixedStepGradient(step=6.0),
    "bb": BarzilaiBorwein(),
    "lbfgs": LBFGS(),
    "gn": GaussNewton(),
    "gn-cg": GaussNewton(linear_solver=ConjugateGradient()),
    "lm": LevenbergMarquardt(),
    "lm-cg": LevenbergMarquardt(linear_solver=ConjugateGradient()),
}
RULES = Rules(Armijo(), tolerance=1e-6, max_iterations=400)
ROWS = 6


@dataclass(frozen=True)
class Toy:
    """An objective with observations (B, m) of truths (B, n); unique where the data determine the truth."""

    objective: Objective
    truth: Tensor
    start: Tensor
    unique: bool = True

    @property
    def observation(self) -> Tensor:
        return self.objective.forward(self.truth)


def matrix(m: int, n: int, low: float, high: float, rank: int | None = None, seed: int = 0) -> Tensor:
    """A random matrix with singular values from high to low, and ``rank`` of them not zero."""
    generator = Generator().manual_seed(seed)
    k = min(m, n)
    U, V = (torch.linalg.qr(torch.randn(s, k, generator=generator, dtype=torch.float64)).Q for s in (m, n))
    values = torch.linspace(high, low, k, dtype=torch.float64)
    values[k if rank is None else rank :] = 0.0
    product: Tensor = (U * values) @ V.T
    return product


def objective(forward: Map, inverse: Map, n: int, m: int, constraint: Constraint | None = None) -> Objective:
    ones = torch.ones(max(n, m), dtype=torch.float64)
    return Objective(forward, inverse, constraint or Unconstrained(), ones[:m], ones[:n])


def linear(A: Tensor, inverse: Tensor, constraint: Constraint | None = None) -> Objective:
    m, n = A.shape
    return objective(lambda x: x @ A.T, lambda y: y @ inverse.T, n, m, constraint)


def draws(rows: int, n: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, n, generator=Generator().manual_seed(seed), dtype=torch.float64)


def well_posed() -> Toy:
    """Six data for four unknowns; g is the pseudoinverse."""
    A = matrix(6, 4, 0.5, 1.5)
    return Toy(linear(A, torch.linalg.pinv(A)), draws(ROWS, 4), torch.zeros(ROWS, 4, dtype=torch.float64))


def rank_deficient() -> Toy:
    """Two of four directions leave no trace in the data."""
    A = matrix(6, 4, 0.5, 1.5, rank=2)
    inverse = torch.linalg.pinv(A, rtol=1e-8)
    return Toy(linear(A, inverse), draws(ROWS, 4), torch.zeros(ROWS, 4, dtype=torch.float64), unique=False)


def wide() -> Toy:
    """Three data for five unknowns: Newton's equations are cheaper in the data's space."""
    A = matrix(3, 5, 0.5, 1.5)
    return Toy(linear(A, torch.linalg.pinv(A)), draws(ROWS, 5), torch.zeros(ROWS, 5, dtype=torch.float64), unique=False)


def nonlinear() -> Toy:
    """f(x) = A x + sin(B x) / 5, and a g that only knows A: a rough inverse, right nowhere."""
    A, B = matrix(6, 4, 0.8, 1.5), matrix(6, 4, 0.5, 1.0, seed=3)
    inverse = torch.linalg.pinv(A)
    of = objective(lambda x: x @ A.T + torch.sin(x @ B.T) / 5.0, lambda y: y @ inverse.T, 4, 6)
    return Toy(of, draws(ROWS, 4), torch.zeros(ROWS, 4, dtype=torch.float64))


def box_active() -> Toy:
    """The truth lies in a corner of the box: half of its components at a bound, and reachable."""
    A = matrix(6, 4, 0.8, 1.5)
    box = Box(-0.5, 0.5)
    truth = draws(ROWS, 4).clamp(-0.5, 0.5)
    return Toy(linear(A, torch.linalg.pinv(A), box), truth, torch.full((ROWS, 4), 0.2, dtype=torch.float64))


TOYS: dict[str, Callable[[], Toy]] = {
    "well-posed": well_posed,
    "rank-deficient": rank_deficient,
    "wide": wide,
    "nonlinear": nonlinear,
    "box-active": box_active,
}
CANNOT = {("dipg-published", "nonlinear")}
"""Published D-IPG has g(y*) for its fixed point, so it ends there unless g is exact."""
EXACT_G = {"well-posed", "rank-deficient", "wide", "box-active"}
EXACT_STEPS = {"dipg", "dipg-published", "gn", "gn-cg"}
GRID = [(method, toy) for method in METHODS for toy in TOYS if (method, toy) not in CANNOT]
