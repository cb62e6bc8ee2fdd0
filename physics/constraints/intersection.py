"""Intersections: closed forms where there is one, Dykstra's algorithm for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from physics.constraints.base import Constraint
from physics.constraints.bounds import Bounded, Bounds, Unconstrained
from physics.constraints.curved import L2Ball, Simplex
from physics.constraints.joint import BallCut, BoundedSimplex, Joint


@dataclass(frozen=True)
class Intersection(Joint):
    """Any sets at once, projected by Dykstra's algorithm (Boyle and Dykstra 1986).

    z_i = P_i(z_{i-1} + p_i), p_i <- z_{i-1} + p_i - z_i, round after round. A row is finished, and frozen, when its
    corrections p no longer change (Birgin and Raydan 2005: the iterate itself may pause for many rounds before it is
    there); so its answer is the same in any batch. Runs in float64. Componentwise bounds come last in each round and
    hold exactly. It can take a thousand rounds where sets barely meet: `intersect` uses it only without a closed form.
    """

    members: tuple[Constraint, ...]
    tolerance: float = 1e-11
    max_rounds: int = 5000

    def __post_init__(self) -> None:
        distinct = _distinct(self.members)
        bounds = _merged([part for part in distinct if isinstance(part, Bounded)])
        object.__setattr__(self, "members", (*(part for part in distinct if not isinstance(part, Bounded)), bounds))

    @property
    def parts(self) -> tuple[Constraint, ...]:
        return self.members

    def project(self, x: Tensor) -> Tensor:
        done = self._dykstra(x.reshape(-1, x.shape[-1]).double()).reshape(x.shape).to(x.dtype)
        return self.members[-1].project(done)

    def _dykstra(self, x: Tensor) -> Tensor:
        """(B, n) -> (B, n); rows that are finished leave the computation."""
        rows = torch.arange(len(x), device=x.device)
        z, corrections, answer = x, [torch.zeros_like(x) for _ in self.members], x
        limit = self.tolerance * (1.0 + x.detach().abs().amax(-1))
        for _ in range(self.max_rounds):
            z, corrections, change = self._round(z, corrections)
            # Written so that a row of NaN counts as finished.
            going = change > limit[rows]
            if going.all():
                continue
            answer = answer.index_copy(0, rows[~going], z[~going])
            rows, z, corrections = rows[going], z[going], [p[going] for p in corrections]
            if not len(rows):
                return answer
        return answer.index_copy(0, rows, z)

    def _round(self, z: Tensor, corrections: list[Tensor]) -> tuple[Tensor, list[Tensor], Tensor]:
        """One pass over the sets, and by how much (B,) the corrections changed in it."""
        change, updated = z.new_zeros(len(z)), []
        for part, old in zip(self.members, corrections, strict=True):
            wanted = z + old
            z = part.project(wanted)
            updated.append(wanted - z)
            change += torch.linalg.vector_norm((updated[-1] - old).detach(), dim=-1)
        return z, updated, change


def intersect(*constraints: Constraint) -> Constraint:
    """The common constraint. Bounds merge into one clamp; a simplex and a ball join them exactly; else Dykstra."""
    distinct = _distinct(constraints)
    bounds = _merged([part for part in distinct if isinstance(part, Bounded)])
    simplexes = [part for part in distinct if isinstance(part, Simplex)]
    balls = [part for part in distinct if isinstance(part, L2Ball)]
    others = [part for part in distinct if not isinstance(part, Bounded | Simplex | L2Ball)]
    if len(simplexes) > 1 or len(balls) > 1 or others:
        return Intersection(distinct)
    core: Constraint = bounds
    if simplexes:
        core = simplexes[0] if isinstance(bounds, Unconstrained) else BoundedSimplex(simplexes[0], bounds)
    if balls:
        core = balls[0] if isinstance(core, Unconstrained) else BallCut(balls[0], core)
    return core


def _distinct(constraints: Sequence[Constraint]) -> tuple[Constraint, ...]:
    """Every elementary set once, nested intersections opened up."""
    return tuple(dict.fromkeys(part for constraint in constraints for part in _flatten(constraint)))


def _flatten(constraint: Constraint) -> tuple[Constraint, ...]:
    match constraint:
        case Unconstrained():
            return ()
        case Bounds(parts=parts):
            return tuple(parts)
        case Joint(parts=parts):
            return tuple(inner for part in parts for inner in _flatten(part))
        case _:
            return (constraint,)


def _merged(bounds: Sequence[Bounded]) -> Bounded:
    match bounds:
        case []:
            return Unconstrained()
        case [only]:
            return only
        case _:
            return Bounds(tuple(bounds))
