"""Componentwise bounds: Box, Nonnegative, Fixed, and any of them together. Projection is one clamp, exact."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

import torch
from torch import Tensor

from physics.constraints.base import Constraint, ConstraintError, Values, frozen_values, require_length, tensor_of

Pair = tuple[float | tuple[float, ...], float | tuple[float, ...]]


class Bounded(Constraint):
    """A set of the form lower <= x <= upper, component by component; bounds may be infinite."""

    @abstractmethod
    def limits(self, n: int) -> Pair:
        """(lower, upper), each one number or n of them."""

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(lower, upper) in the dtype and on the device of x, each () or (n,)."""
        lower, upper = _limits(self, x.shape[-1])
        return tensor_of(lower, x.dtype, x.device), tensor_of(upper, x.dtype, x.device)

    def project(self, x: Tensor) -> Tensor:
        lower, upper = self.bounds(x)
        return torch.clamp(x, lower, upper)

    def projector(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        lower, upper = self.bounds(like)
        return lambda x: torch.clamp(x, lower, upper)

    def contains(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        lower, upper = self.bounds(x)
        inside = (x >= lower - _slack(lower, tolerance)) & (x <= upper + _slack(upper, tolerance))
        return inside.all(-1)

    def held(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        lower, upper = self.bounds(x)
        return ((x - lower).abs() <= _slack(lower, tolerance)) | ((x - upper).abs() <= _slack(upper, tolerance))


@lru_cache(maxsize=256)
def _limits(constraint: Bounded, n: int) -> Pair:
    return constraint.limits(n)


def _slack(bound: Tensor, tolerance: float) -> Tensor:
    # An infinite bound needs no slack: inf - inf would be NaN.
    return tolerance * torch.where(bound.isfinite(), bound, 0.0).abs().clamp_min(1.0)


@dataclass(frozen=True)
class Unconstrained(Bounded):
    """All of R^n."""

    def limits(self, n: int) -> Pair:
        return -inf, inf

    def project(self, x: Tensor) -> Tensor:
        return x

    def projector(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        return self.project


@dataclass(frozen=True)
class Box(Bounded):
    """lower <= x <= upper."""

    lower: Values = -inf
    upper: Values = inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "lower", frozen_values(self.lower))
        object.__setattr__(self, "upper", frozen_values(self.upper))

    def limits(self, n: int) -> Pair:
        lower, upper = frozen_values(self.lower), frozen_values(self.upper)
        require_length(lower, n, "constraint.box.lower")
        require_length(upper, n, "constraint.box.upper")
        return lower, upper


@dataclass(frozen=True)
class Nonnegative(Bounded):
    """x >= 0."""

    def limits(self, n: int) -> Pair:
        return 0.0, inf


@dataclass(frozen=True)
class Fixed(Bounded):
    """x[indices[k]] = values[k]; the other components are free."""

    indices: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", tuple(int(index) for index in self.indices))
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        if len(self.indices) != len(self.values):
            raise ConstraintError(
                "constraint.fixed.values", f"has {len(self.values)} values for {len(self.indices)} indices"
            )

    def limits(self, n: int) -> Pair:
        lower, upper = [-inf] * n, [inf] * n
        for index, value in zip(self.indices, self.values, strict=True):
            if not 0 <= index < n:
                raise ConstraintError("constraint.fixed.indices", f"{index} is not between 0 and {n - 1}")
            lower[index], upper[index] = max(lower[index], value), min(upper[index], value)
        return tuple(lower), tuple(upper)


@dataclass(frozen=True)
class Bounds(Bounded):
    """All of its parts at once: the tightest lower and upper bound of each component."""

    parts: tuple[Bounded, ...]

    def limits(self, n: int) -> Pair:
        pairs = [part.limits(n) for part in self.parts]
        lower = [_spread(low, n) for low, _ in pairs]
        upper = [_spread(high, n) for _, high in pairs]
        return tuple(map(max, zip(*lower, strict=True))), tuple(map(min, zip(*upper, strict=True)))


def _spread(values: float | tuple[float, ...], n: int) -> tuple[float, ...]:
    return values if isinstance(values, tuple) else (values,) * n
