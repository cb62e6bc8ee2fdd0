"""The scores that look at the learned inverse itself, and the Jacobians that error bars are made of.

With R(y) = J_g(y) J_f(x^) in units of the unknowns' typical size (models/composition.py):

    rjcp           ||R(f(x^)) - I||_F^2 / n             the published runtime diagnostic (arXiv 2511.21076)
    rjcp_observed  ||R(y*) - I||_F^2 / n                the same with J_g at the observation
    jacobian_jump  ||J_g(y*) - J_g(f(x^))||_F^2 / (n m)   how differently g behaves at the data and at the fit

Up to EXACT_UP_TO unknowns the Jacobians are explicit; above it fixed probes stand in for them, so that an item always
gets the same figure. Where f and g are affine, all of it is computed once and kept.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor
from torch.func import vmap

from models.composition import (
    EXACT_UP_TO,
    Composition,
    Inspection,
    Map,
    error_from_resolution,
    mean_and_error,
    rademacher,
)
from models.engine import Tensors
from models.jacobian import jacobian

PROBES = 8
PROBE_SEED = 20251121
ROWS_AT_ONCE, PROBED_ROWS_AT_ONCE = 256, 16  # a probed row travels PROBES times


@dataclass(frozen=True)
class Inspected:
    """What the Jacobians say of rows: the three scores (B, 3) and the standard error (B,) of the first.

    J_g at the fit (B, n, m) per unit scale and R (B, n, n) where they are explicit.
    """

    scores: Tensor
    standard_error: Tensor
    inverse_jacobian: Tensor | None = None
    resolution_matrix: Tensor | None = None


@dataclass(frozen=True)
class Inspector:
    """f and g under inspection, as two functions.

    Attributes:
        scale: typical size of each unknown (n,); y_scale: unit of the observed values (m,), for the jump.
        jacobian_f, jacobian_g: x (B, n) -> (B, m, n) and y (B, m) -> (B, n, m); autograd's where they are not given.
        affine: whether both Jacobians are the same everywhere.
        graph: another engine's form of the exact inspection, where it has one.
    """

    f: Map
    g: Map
    scale: Tensor
    y_scale: Tensor
    jacobian_f: Map | None = None
    jacobian_g: Map | None = None
    affine: bool = False
    graph: Tensors | None = None

    @property
    def exact(self) -> bool:
        """Whether the Jacobians are explicit."""
        return len(self.scale) <= EXACT_UP_TO

    @property
    def composition(self) -> Composition:
        """R as a map of tangents."""
        return Composition(self.f, self.g, self.scale)

    def inspect(self, x: Tensor, fit: Tensor, observation: Tensor) -> Inspected:
        """Reconstructions x (B, n) with fits f(x) (B, m) against observations (B, m), a block of rows at a time."""
        block, at_once = (self._exact, ROWS_AT_ONCE) if self.exact else (self._probed, PROBED_ROWS_AT_ONCE)
        rows = zip(*(tensor.split(at_once) for tensor in (x, fit, observation)), strict=True)
        parts = [block(*each) for each in rows]
        scores, error = (torch.cat([getattr(part, name) for part in parts]) for name in ("scores", "standard_error"))
        if not self.exact:
            return Inspected(scores, error)
        J_g, R = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("inverse_jacobian", "resolution_matrix")
        )
        return Inspected(scores, error, J_g, R)

    def published(self, x: Tensor) -> Tensor:
        """RJCP alone, at x (B, n): (B,)."""
        fit = self.f(x)
        return self.inspect(x, fit, fit).scores[:, 0]

    @cached_property
    def _constant(self) -> tuple[Tensor, Tensor]:
        """J_g (1, n, m) and R (1, n, n), the same everywhere."""
        zero = torch.zeros_like(self.scale)[None]
        fit = self.f(zero)
        *_, J_g, R = self._inspection(zero, fit, fit)
        return J_g, R

    @cached_property
    def _inspection(self) -> Tensors:
        jacobian_f = self.jacobian_f or (lambda x: jacobian(self.f, x, len(self.y_scale)))
        jacobian_g = self.jacobian_g or (lambda y: jacobian(self.g, y, len(self.scale)))
        return self.graph or Inspection(jacobian_f, jacobian_g, self.scale, self.y_scale)

    def _exact(self, x: Tensor, fit: Tensor, observation: Tensor) -> Inspected:
        nothing, count = torch.zeros(len(x), dtype=x.dtype, device=x.device), len(x)
        if self.affine:
            J_g, R = self._constant
            error = error_from_resolution(R).expand(count)
            scores = torch.stack([error, error, nothing], dim=1)
            return Inspected(scores, nothing, J_g.expand(count, -1, -1), R.expand(count, -1, -1))
        published, observed, jump, J_g, R = self._inspection(x, fit, observation)
        return Inspected(torch.stack([published, observed, jump], dim=1), nothing, J_g, R)

    def _probed(self, x: Tensor, fit: Tensor, observation: Tensor) -> Inspected:
        """The same scores by Hutchinson probes, with the standard error of rjcp."""
        generator = Generator().manual_seed(PROBE_SEED)
        composition = self.composition
        probes = rademacher((PROBES, x.shape[1]), generator, x)
        y_probes = rademacher((PROBES, fit.shape[1]), generator, x) * self.y_scale

        def errors(probe: Tensor) -> tuple[Tensor, Tensor]:
            v = probe.expand_as(x)
            tangent = composition.push(x, v)[1]
            at_fit, at_data = (composition.pull(y, tangent) - v for y in (fit, observation))
            return at_fit.square().mean(1), at_data.square().mean(1)

        def jumps(probe: Tensor) -> Tensor:
            tangent = probe.expand_as(fit)
            difference = composition.pull(observation, tangent) - composition.pull(fit, tangent)
            return difference.square().mean(1) / fit.shape[1]

        at_fit, at_data = vmap(errors)(probes)
        published, standard_error = mean_and_error(at_fit)
        observed, jump = (mean_and_error(values)[0] for values in (at_data, vmap(jumps)(y_probes)))
        scores = torch.stack([published, observed, jump], dim=1)
        return Inspected(scores, standard_error)
