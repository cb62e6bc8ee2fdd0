"""The constraint's interface, its error, and how its numbers are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

Values = float | Sequence[float] | np.ndarray | Tensor
"""One number for all components, or one for each. Kept as plain floats, so that constraints hash and compare."""


class ConstraintError(ValueError):
    """A constraint that cannot be read or that nothing can satisfy; ``field`` says where, ``reason`` what to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Constraint(ABC):
    """A closed convex set C in R^n."""

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """Closest points of C, argmin_z ||z - x||, row by row: (B, n) -> (B, n)."""

    def projector(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        """``project`` for tensors of the dtype, the device and the number of components of like (n,)."""
        return self.project

    @abstractmethod
    def contains(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        """Which rows lie in C: (B, n) -> (B,) bool. The tolerance is absolute below one and relative above."""

    @abstractmethod
    def held(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        """Which components sit at a bound of their own: (B, n) -> (B, n) bool."""

    def active(self, x: Tensor, tolerance: float = 1e-6) -> Tensor:
        """How many bounds hold x back: (B, n) -> (B,) int. A ball counts once, on its surface."""
        return self.held(x, tolerance).sum(-1)


def frozen_values(values: Values) -> float | tuple[float, ...]:
    """Numbers in hashable form, from a scalar, a sequence, an array or a tensor."""
    plain = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    return tuple(float(value) for value in plain) if isinstance(plain, Sequence) else float(plain)


@lru_cache(maxsize=256)
def tensor_of(values: float | tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The values as a tensor, made once per dtype and device: projections sit in the solver's inner loop."""
    # A tensor born in inference mode could never again take part in a gradient, and this one is kept.
    with torch.inference_mode(mode=False):
        return torch.tensor(values, dtype=dtype, device=device)


def require_length(values: float | tuple[float, ...], n: int, field: str) -> None:
    """Refuse a list whose length is not the number of unknowns."""
    if isinstance(values, tuple) and len(values) != n:
        raise ConstraintError(field, f"has {len(values)} values where the model has {n} unknowns")
