"""What the training items looked like: the moments that new observations and new answers are measured against."""

from dataclasses import dataclass

import torch
from torch import Tensor

CONSTANT_BELOW = 1e-9  # of the largest spread: a pinned end does not vary


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

    def whitened(self, y: Tensor) -> Tensor:
        """W (y - mean), of unit covariance over the training observations: (B, m) -> (B, m), float64."""
        return (y.double() - self.mean.to(y.device)) @ self.whitener.to(y.device).T

    def basis(self, faults: Tensor) -> Tensor:
        """Orthonormal basis (m, k) of what adding faults (k, m) to an observation does to it when whitened."""
        out: Tensor = torch.linalg.qr(self.whitener @ faults.T).Q
        return out


@dataclass(frozen=True)
class Spread:
    """How the unknowns, or what the data can determine of them, vary: mean and std (q,) of training's, and their size.

    ``typical`` is the mean size of reconstructions: those of an ill-posed problem vary less than the truths do.
    """

    mean: Tensor
    std: Tensor
    typical: Tensor

    @classmethod
    def of(cls, truths: Tensor, found: Tensor) -> "Spread":
        """Of truths (N, q) and reconstructions (M, q); a component that does not vary counts for nothing."""
        mean, std = truths.double().mean(0), truths.double().std(0)
        std = torch.where(std > CONSTANT_BELOW * std.max(), std, torch.inf)
        return cls(mean, std, cls(mean, std, torch.ones((), dtype=torch.float64)).size(found).mean())

    def size(self, q: Tensor) -> Tensor:
        """Mean square of (q - mean) / std over the components that vary, over its typical value: (B, q) -> (B,)."""
        mean, std, typical = (tensor.to(q.device) for tensor in (self.mean, self.std, self.typical))
        squares = ((q.double() - mean) / std).square()
        return squares.sum(1) / std.isfinite().sum().clamp_min(1) / typical

    def oddness(self, q: Tensor) -> Tensor:
        """t - 1 - log t of the size t: zero at 1, large for answers too far out and for answers too plain."""
        t = self.size(q).clamp_min(1e-12)
        return t - 1.0 - t.log()
