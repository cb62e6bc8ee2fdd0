"""Is there any point at all that satisfies a constraint? Said before a solver is started, and with a reason."""

from itertools import pairwise
from math import inf, isfinite

import torch

from physics.constraints.base import Constraint, ConstraintError
from physics.constraints.bounds import Bounded, Bounds, Fixed
from physics.constraints.curved import L2Ball, Simplex
from physics.constraints.intersection import Intersection, intersect
from physics.constraints.joint import BallCut, BoundedSimplex, Joint

MARGIN = 1e-9
"""Relative gap below which two sets count as touching."""


def check_feasible(constraint: Constraint, n: int) -> None:
    """Raise ConstraintError unless some point of R^n satisfies the constraint."""
    match constraint:
        case Bounded():
            _check_bounds(constraint, n)
        case L2Ball(radius=radius):
            constraint.center_like(torch.zeros(n, dtype=torch.float64))
            _require(0.0 <= radius < inf, "constraint.l2_ball.radius", f"must be at least 0, is {radius:g}")
        case Simplex(total=total):
            _require(0.0 <= total < inf, "constraint.simplex.total", f"must be at least 0, is {total:g}")
        case Joint(parts=parts):
            for part in parts:
                check_feasible(part, n)
            _check_joint(constraint, n)


def _require(holds: bool, field: str, reason: str) -> None:
    if not holds:
        raise ConstraintError(field, reason)


def _check_bounds(constraint: Bounded, n: int) -> None:
    parts = constraint.parts if isinstance(constraint, Bounds) else (constraint,)
    fixed = {index for part in parts if isinstance(part, Fixed) for index in part.indices}
    lower, upper = constraint.bounds(torch.zeros(n, dtype=torch.float64))
    # A fixed value is both bounds at once, so it must be finite too: -inf <= -inf would let it pass.
    possible = (lower <= upper) & (lower < inf) & (upper > -inf)
    for index in torch.nonzero(~possible.expand(n)).flatten().tolist()[:1]:
        low, high = (float(bound.expand(n)[index]) for bound in (lower, upper))
        field = "constraint.fixed" if index in fixed else "constraint.box"
        raise ConstraintError(field, f"nothing is left for unknown {index}: at least {low:g} and at most {high:g}")


def _check_joint(constraint: Joint, n: int) -> None:
    match constraint:
        case BoundedSimplex(simplex=simplex):
            _check_simplex(constraint, simplex, n)
        case BallCut(ball=ball, inner=inner):
            _check_ball(ball, inner, n)
        case Intersection(parts=parts):
            _check_general(constraint, parts, n)


def _check_simplex(constraint: BoundedSimplex, simplex: Simplex, n: int) -> None:
    lower, upper = constraint.bounds.bounds(torch.zeros(n, dtype=torch.float64))
    least, most = float(lower.clamp_min(0.0).expand(n).sum()), float(upper.expand(n).sum())
    _require(
        bool((upper >= 0.0).all()), "constraint.simplex", "needs unknowns of at least 0, which the bounds leave out"
    )
    slack = MARGIN * max(1.0, simplex.total)
    reason = f"the total {simplex.total:g} is out of reach: the bounds allow sums from {least:g} to {most:g}"
    _require(least - slack <= simplex.total <= most + slack, "constraint.simplex.total", reason)


def _check_ball(ball: L2Ball, inner: Constraint, n: int) -> None:
    center = ball.center_like(torch.zeros(1, n, dtype=torch.float64)).expand(1, n)
    gap = float(torch.linalg.vector_norm(inner.project(center) - center))
    reason = f"the radius {ball.radius:g} is too small: the nearest point the other constraints allow is {gap:g} away"
    _require(gap <= ball.radius + MARGIN * max(1.0, gap), "constraint.l2_ball.radius", reason)


def _check_general(constraint: Intersection, parts: tuple[Constraint, ...], n: int) -> None:
    totals = sorted(part.total for part in parts if isinstance(part, Simplex))
    for low, high in pairwise(totals):
        raise ConstraintError("constraint.simplex.total", f"cannot be {low:g} and {high:g} at once")
    balls = [part for part in parts if isinstance(part, L2Ball)]
    for ball in balls:
        for other in parts:
            if other is not ball:
                _check_ball(ball, other, n)
    simplex = [part for part in parts if isinstance(part, Simplex)]
    check_feasible(intersect(*simplex, *(part for part in parts if isinstance(part, Bounded))), n)
    center = balls[0].center_like(torch.zeros(1, n, dtype=torch.float64)) if balls else torch.zeros(1, n).double()
    nearest = constraint.project(center.expand(1, n))
    reason = "no point satisfies all of them at once"
    _require(isfinite(float(nearest.sum())) and bool(constraint.contains(nearest, 1e-4).all()), "constraint", reason)
