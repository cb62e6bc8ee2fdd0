"""What is known about the unknown before any data: closed convex sets and the row-wise projections onto them.

Constraint                 project (B, n) -> (B, n), contains -> (B,), active -> (B,)
├── Bounded                componentwise bounds: one exact clamp
│   ├── Box, Nonnegative, Fixed, Unconstrained
│   └── Bounds             several of them merged
├── L2Ball, Simplex
└── Joint                  several sets at once, made by `intersect`
    ├── BoundedSimplex, BallCut    closed forms
    └── Intersection       anything else: Dykstra's algorithm

A row of a batch never depends on its neighbours, and every projection keeps the dtype and device of what it is given.
"""

from physics.constraints.base import Constraint, ConstraintError
from physics.constraints.bounds import Bounded, Bounds, Box, Fixed, Nonnegative, Unconstrained
from physics.constraints.curved import L2Ball, Simplex
from physics.constraints.feasible import check_feasible
from physics.constraints.intersection import Intersection, intersect
from physics.constraints.joint import BallCut, BoundedSimplex, Joint
from physics.constraints.spec import parse_constraint

__all__ = [
    "BallCut",
    "Bounded",
    "BoundedSimplex",
    "Bounds",
    "Box",
    "Constraint",
    "ConstraintError",
    "Fixed",
    "Intersection",
    "Joint",
    "L2Ball",
    "Nonnegative",
    "Simplex",
    "Unconstrained",
    "check_feasible",
    "intersect",
    "parse_constraint",
]
