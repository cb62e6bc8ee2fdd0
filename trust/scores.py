"""How strange an answer looks: one number per item and question, larger meaning stranger.

With R(y) = J_g(y) J_f(x^) in units of the unknowns' typical size (models/composition.py), reconstruction x^, data y*:

    rjcp               ||R(f(x^)) - I||_F^2 / n     the published runtime diagnostic (arXiv 2511.21076)
    rjcp_observed      ||R(y*) - I||_F^2 / n        the same with J_g at the observation
    jacobian_jump      ||J_g(y*) - J_g(f(x^))||_F^2 / (n m)   how differently g behaves at the data and at the fit
    residual_to_noise  rms(f(x^) - y*) / noise
    mahalanobis        (y* - mean)^T Cov^-1 (y* - mean) under the training observations

Up to EXACT_UP_TO unknowns the Jacobians are explicit; above it, fixed probes stand in for them, so that an item always
gets the same figure.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.func import vmap

from models.composition import Composition, error_from_resolution, estimate, mean_and_error, rademacher
from models.deceptron import Deceptron

SCORES = ("rjcp", "rjcp_observed", "jacobian_jump", "residual_to_noise", "mahalanobis")
EXACT_UP_TO = 64
PROBES = 8
PROBE_SEED = 20251121
ROWS_AT_ONCE, PROBED_ROWS_AT_ONCE = 256, 16  # a probed row travels PROBES times


@dataclass(frozen=True)
class Observed:
    """Moments of the training observations: mean (m,) and the inverse Cholesky factor (m, m) of their covariance."""

    mean: Tensor
    whitener: Tensor

    @classmethod
    def of(cls, y: Tensor) -> "Observed":
        """Moments of y (N, m), in float64."""
        y = y.double()
        covariance = torch.cov(y.T).reshape(y.shape[1], y.shape[1])
        jitter = 1e-9 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance + jitter)
        eye = torch.eye(len(factor), dtype=torch.float64)
        return cls(y.mean(0), torch.linalg.solve_triangular(factor, eye, upper=False))

    def distance(self, y: Tensor) -> Tensor:
        """Squared Mahalanobis distance of y (B, m): (B,)."""
        whitened = (y.double() - self.mean.to(y.device)) @ self.whitener.to(y.device).T
        return whitened.square().sum(1)


@dataclass(frozen=True)
class Scored:
    """Scores (B, 5) in the order of SCORES; resolution diag R (B, n) and J_g at the fit (B, n, m) where exact."""

    scores: Tensor
    rjcp_standard_error: Tensor
    resolution: Tensor | None
    inverse_jacobian: Tensor | None
    resolution_matrix: Tensor | None


def score(
    deceptron: Deceptron,
    scale: Tensor,
    noise_std: float,
    observed: Observed,
    x: Tensor,
    fit: Tensor,
    observation: Tensor,
) -> Scored:
    """Scores reconstructions x (B, n) with fits f(x) (B, m) against observations (B, m).

    Args:
        scale: typical size of each unknown (n,); noise_std: of the observations.
    """
    exact = x.shape[1] <= EXACT_UP_TO
    of_model, at_once = (_exact, ROWS_AT_ONCE) if exact else (_probed, PROBED_ROWS_AT_ONCE)
    parts = [
        of_model(deceptron, scale, *block)
        for block in zip(*(tensor.split(at_once) for tensor in (x, fit, observation)), strict=True)
    ]
    jacobian_scores = torch.cat([part[0] for part in parts])
    residual = (fit - observation).square().mean(1).sqrt() / noise_std
    scores = torch.cat(
        [jacobian_scores, residual[:, None], observed.distance(observation)[:, None].to(residual)], dim=1
    )
    standard_error = torch.cat([part[1] for part in parts])
    if not exact:
        return Scored(scores, standard_error, None, None, None)
    J_g, R = (torch.cat([part[i] for part in parts]) for i in (2, 3))
    return Scored(scores, standard_error, R.diagonal(dim1=1, dim2=2), J_g, R)


def _exact(
    deceptron: Deceptron, scale: Tensor, x: Tensor, fit: Tensor, observation: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Three Jacobian scores (B, 3), zero standard errors, J_g(f(x)) (B, n, m) per unit scale, and R (B, n, n)."""
    J_f = deceptron.jacobian_f(x) * scale
    at_fit, at_data = (deceptron.jacobian_g(y) / scale[:, None] for y in (fit, observation))
    R = at_fit @ J_f
    jump = ((at_data - at_fit) * deceptron.y_scale).square().mean((1, 2))
    scores = torch.stack([error_from_resolution(R), error_from_resolution(at_data @ J_f), jump], dim=1)
    return scores, torch.zeros(len(x), dtype=x.dtype, device=x.device), at_fit, R


def _probed(deceptron: Deceptron, scale: Tensor, x: Tensor, fit: Tensor, observation: Tensor) -> tuple[Tensor, Tensor]:
    """The same scores by Hutchinson probes, with the standard error of rjcp."""
    generator = Generator().manual_seed(PROBE_SEED)
    composition = Composition(deceptron.f, deceptron.g, scale)
    probes = rademacher((PROBES, x.shape[1]), generator, x)
    y_probes = rademacher((PROBES, fit.shape[1]), generator, x) * deceptron.y_scale

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
    return torch.stack([published, at_data.mean(0), vmap(jumps)(y_probes).mean(0)], dim=1), standard_error


def rjcp(deceptron: Deceptron, scale: Tensor, x: Tensor) -> Tensor:
    """The published diagnostic alone, at x (B, n): (B,); by probes above EXACT_UP_TO unknowns."""
    composition = Composition(deceptron.f, deceptron.g, scale)
    if x.shape[1] <= EXACT_UP_TO:
        return error_from_resolution(composition.resolution(x))
    probes = rademacher((PROBES, x.shape[1]), Generator().manual_seed(PROBE_SEED), x)
    return torch.cat([estimate(composition, rows, probes)[0] for rows in x.split(PROBED_ROWS_AT_ONCE)])
