"""Error bars: what noise does to the answer, and what the data leave undecided.

    Var(x^ - x) ~ J_g Cov_noise J_g^T + (R - I) Cov_x (R - I)^T      (linearised; Backus and Gilbert 1970)

The modelled standard deviation is then scaled per unknown on the calibration set, conformally, so that
x^ +- 1.645 std covers the truth for 90 % of in-range items. Above EXACT_UP_TO unknowns the variance is a mean over
fixed draws of noise and of training unknowns, and diag R a Hutchinson estimate; the factors are fitted to just these
draws, so that the coverage holds whatever their own error.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.func import vmap

from models.composition import EXACT_UP_TO, Composition, rademacher
from trust.jacobians import Inspected, Inspector

COVERAGE = 0.90
NORMAL_90 = 1.6448536269514722
DRAWS = 32
DRAW_SEED = 20251122
ROWS_AT_ONCE = 4  # each travels DRAWS times


@dataclass(frozen=True)
class Prior:
    """How the unknowns vary: their covariance (n, n), or, where that is too large, DRAWS centred samples (K, n)."""

    covariance: Tensor
    draws: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "Prior":
        """Of training unknowns x (N, n)."""
        n = x.shape[1]
        if n <= EXACT_UP_TO:
            return cls(torch.cov(x.double().T).reshape(n, n), torch.empty(0, n))
        return cls(torch.empty(0, 0), (x[:DRAWS] - x.mean(0)).float())


@dataclass(frozen=True)
class Uncertainty:
    """Standard deviation (B, n) as modelled, and resolution diag R (B, n)."""

    std: Tensor
    resolution: Tensor


def model_uncertainty(
    inspector: Inspector, inspected: Inspected, prior: Prior, noise_std: float, x: Tensor, fit: Tensor
) -> Uncertainty:
    """For reconstructions x (B, n) with fits (B, m): exact where the Jacobians are explicit, by draws elsewhere."""
    J_g, R = inspected.inverse_jacobian, inspected.resolution_matrix
    if J_g is not None and R is not None:
        return _exact(J_g, R, prior, noise_std, inspector.scale)
    blocks = zip(x.split(ROWS_AT_ONCE), fit.split(ROWS_AT_ONCE), strict=True)
    parts = [_drawn(inspector.composition, prior, noise_std, *block) for block in blocks]
    return Uncertainty(torch.cat([part.std for part in parts]), torch.cat([part.resolution for part in parts]))


def _exact(J_g: Tensor, R: Tensor, prior: Prior, noise_std: float, scale: Tensor) -> Uncertainty:
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    covariance = (prior.covariance.to(R) / scale[:, None]) / scale
    unresolved = R - eye
    variance = noise_std**2 * J_g.square().sum(2) + ((unresolved @ covariance) * unresolved).sum(2)
    return Uncertainty(variance.clamp_min(0).sqrt() * scale, R.diagonal(dim1=1, dim2=2))


def _drawn(composition: Composition, prior: Prior, noise_std: float, x: Tensor, fit: Tensor) -> Uncertainty:
    generator = Generator().manual_seed(DRAW_SEED)
    unknowns = prior.draws.to(x) / composition.scale
    noise = noise_std * rademacher((len(unknowns), fit.shape[1]), generator, x)
    probes = rademacher((len(unknowns), x.shape[1]), generator, x)

    def errors(v: Tensor, e: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
        v, probe = v.expand_as(x), probe.expand_as(x)
        tangent = composition.push(x, v)[1] + e  # J_g is linear in it: one pull for both
        resolved = composition.pull(fit, composition.push(x, probe)[1])
        return (composition.pull(fit, tangent) - v).square(), resolved * probe

    squares, resolved = vmap(errors)(unknowns, noise, probes)
    return Uncertainty(squares.mean(0).sqrt() * composition.scale, resolved.mean(0))


def conformal_factor(error: Tensor, std: Tensor) -> Tensor:
    """Per unknown, the factor that makes +-1.645 std cover COVERAGE of the calibration errors (N, n): (n,).

    An unknown that the constraint fixes has neither error nor spread; its factor is 1.
    """
    ratio = error.abs().double() / (NORMAL_90 * std.double()).clamp_min(1e-12)
    rank = min(len(ratio), math.ceil((len(ratio) + 1) * COVERAGE))
    factor = ratio.sort(0).values[rank - 1]
    return torch.where(error.abs().amax(0) > 0, factor, 1.0)
