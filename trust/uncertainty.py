"""Error bars: what noise does to the answer, and what the data leave undecided.

    Var(x^ - x) ~ J_g Cov_noise J_g^T + (R - I) Cov_x (R - I)^T      (linearised; Backus and Gilbert 1970)

The modelled standard deviation is then scaled per unknown on the calibration set, conformally, so that
x^ +- 1.645 std covers the truth for 90 % of in-range items.
"""

import torch
from torch import Tensor

from trust.scores import Scored

COVERAGE = 0.90
NORMAL_90 = 1.6448536269514722


def modelled_std(scored: Scored, scale: Tensor, noise_std: float, unknown_covariance: Tensor) -> Tensor:
    """Standard deviation (B, n) from noise and from unresolved prior variance; needs exact Jacobians."""
    if scored.inverse_jacobian is None or scored.resolution_matrix is None:
        raise ValueError("error bars need explicit Jacobians: too many unknowns for them here")
    J_g, R = scored.inverse_jacobian, scored.resolution_matrix
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    covariance = (unknown_covariance.to(R) / scale[:, None]) / scale
    unresolved = R - eye
    variance = noise_std**2 * J_g.square().sum(2) + ((unresolved @ covariance) * unresolved).sum(2)
    return variance.clamp_min(0).sqrt() * scale


def conformal_factor(error: Tensor, std: Tensor) -> Tensor:
    """Per unknown, the factor that makes +-1.645 std cover COVERAGE of the calibration errors (N, n): (n,).

    An unknown that the constraint fixes has neither error nor spread; its factor is 1.
    """
    ratio = error.abs().double() / (NORMAL_90 * std.double()).clamp_min(1e-12)
    rank = min(len(ratio), int(torch.ceil(torch.tensor((len(ratio) + 1) * COVERAGE)).item()))
    factor = ratio.sort(0).values[rank - 1]
    return torch.where(error.abs().amax(0) > 0, factor, 1.0)
