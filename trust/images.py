"""Is this deblurred image to be believed: scores of one image plane, ranked among held-out crops.

    rjcp                  ||J_R(y) J_A(x^) xi - xi||^2 / ||xi||^2, R the reconstruction, A the camera
    rjcp_over_floor       the same over what the linear estimator leaves of the same directions
    residual_to_noise     rms(A x^ - y) / noise; ranked by |log|, since too small is as strange as too large
    residual_correlation  correlation of neighbouring residuals: noise has none, a wrong kernel leaves structure
    statistics            Mahalanobis distance of brightness, slopes and their tails from training crops'

The directions xi have the spectrum of photographs (physics/wiener.py): white ones would mostly measure what any blur
erases. Even so no reconstruction returns all of them. That floor depends on the kernel and the noise far more than on
the image, so the verdict ranks the ratio, in which it cancels. J_R is a finite difference in a few windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from models.deblurring import deblur
from models.deceptronnet import ImageNetwork
from physics.blur import Blur
from physics.wiener import Wiener, photograph_like
from trust.ranks import conformal_p, p_values_by_column
from trust.verdict import SUSPECT_BELOW, verdict

IMAGE_SCORES = ("rjcp_over_floor", "residual_to_noise", "residual_correlation", "statistics")
STATISTICS = 6
PROBES = 1  # of four windows of 96 x 96: 37,000 pixels
PROBE_SIZE = 0.01  # rms of a direction's step
PROBE_SEED = 20251121
WINDOW = 96  # pixels; an image up to half as large again is its own window
LEAST_SLOPE = 1e-4

REASONS = {
    "rjcp_over_floor": "small changes of this image would not come back as they do on known photographs (RJCP)",
    "residual_to_noise": "blurred again, the answer misses the observation by more, or less, than the noise level says",
    "residual_correlation": "what the answer misses has structure: it may not be this kernel that blurred the image",
    "statistics": "brightness, slopes or flat areas are unlike those of the photographs the network knows",
}


@dataclass(frozen=True)
class ImageCalibration:
    """Held-out crops' scores (N, S), each column ascending, their sums (N,), and the moments of the statistics."""

    scores: Tensor
    fisher: Tensor
    mean: Tensor
    whitener: Tensor

    @classmethod
    def of(cls, scores: Tensor, mean: Tensor, whitener: Tensor) -> "ImageCalibration":
        """Ranks the crops among themselves; each stands among the others."""
        ascending = scores.double().sort(0).values.contiguous()
        p_values = p_values_by_column(ascending, scores.double())
        p_values = (p_values * (len(scores) + 1) - 1) / len(scores)
        return cls(ascending, fisher_sum(p_values).sort().values, mean, whitener)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {"scores": self.scores, "fisher": self.fisher, "mean": self.mean, "whitener": self.whitener}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "ImageCalibration":
        """From a checkpoint; raises KeyError when a tensor is missing, or was made with other statistics."""
        found = cls(*(tensors[name] for name in ("scores", "fisher", "mean", "whitener")))
        if len(found.mean) != STATISTICS:
            raise KeyError(f"{STATISTICS} statistics")
        return found

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Median, 95 % and 99 % of every score on the held-out crops."""
        table = torch.quantile(self.scores, torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64), dim=0)
        columns = zip(IMAGE_SCORES, table.T.tolist(), strict=True)
        return {name: dict(zip(("median", "p95", "p99"), column, strict=True)) for name, column in columns}


def judge_residual(x: Tensor, y: Tensor, blur: Blur, noise_std: float) -> list[dict[str, Any]]:
    """What any method's answer can be asked: x (B, 1, H, W) against y (B, 1, h, w), one entry an image."""
    residual = blur.forward(x) - y
    rms = residual.square().mean((1, 2, 3)).sqrt()
    return [
        {"residual_rms": r, "residual_to_noise": r / noise_std, "residual_correlation": c}
        for r, c in zip(rms.tolist(), _correlation(residual).tolist(), strict=True)
    ]


def judge_image(
    network: ImageNetwork, calibration: ImageCalibration, x: Tensor, y: Tensor, blur: Blur, noise_std: float
) -> list[dict[str, Any]]:
    """Diagnostics and verdict of a network's answers x (B, 1, H, W) to y (B, 1, h, w), one entry an image."""
    found = []
    for image, observed in zip(x.split(1), y.split(1), strict=True):
        rjcp, floor = composition_error(network, image, observed, blur, noise_std)
        scores = _scores(image, observed, blur, noise_std, rjcp / max(floor, 1e-12), calibration)
        each = p_values_by_column(calibration.scores, scores[None].double())
        p = conformal_p(calibration.fisher, fisher_sum(each)).item()
        p_values = dict(zip(IMAGE_SCORES, each[0].tolist(), strict=True))
        found.append(
            {
                "rjcp": rjcp,
                "rjcp_floor": floor,
                "rjcp_p_value": p_values["rjcp_over_floor"],
                **dict(zip(IMAGE_SCORES, scores.tolist(), strict=True)),
                **judge_residual(image, observed, blur, noise_std)[0],
                "p_values": p_values,
                "p_value": p,
                "verdict": str(verdict(p)),
                "reasons": _reasons(p, p_values),
            }
        )
    return found


def calibrate_images(
    network: ImageNetwork, known: Sequence[Tensor], held_out: Sequence[tuple[Tensor, Blur, float]]
) -> ImageCalibration:
    """Scores held-out observations as the service will.

    Args:
        known: sharp training crops (1, 1, H, W) that the statistics' moments come from.
        held_out: (y, camera, noise level) of crops that training never saw.
    """
    features = torch.stack([statistics(crop) for crop in known]).double()
    covariance = torch.cov(features.T) + 1e-6 * torch.eye(features.shape[1], dtype=torch.float64)
    eye = torch.eye(features.shape[1], dtype=torch.float64)
    whitener = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), eye, upper=False)
    unranked = ImageCalibration(torch.empty(0, 4), torch.empty(0), features.mean(0), whitener)
    rows = []
    for y, blur, noise_std in held_out:
        x = deblur(network, y, blur, noise_std)
        rjcp, floor = composition_error(network, x, y, blur, noise_std)
        rows.append(_scores(x, y, blur, noise_std, rjcp / max(floor, 1e-12), unranked))
    return ImageCalibration.of(torch.stack(rows), unranked.mean, whitener)


def composition_error(network: ImageNetwork, x: Tensor, y: Tensor, blur: Blur, noise_std: float) -> tuple[float, float]:
    """RJCP of one image (1, 1, H, W) by PROBES directions in each window, and the linear estimator's for the same."""
    generator = Generator().manual_seed(PROBE_SEED)
    images, seen = _windows(x, y, blur.factor)
    error = floor = size = 0.0
    base = deblur(network, seen, blur, noise_std)
    linear = Wiener.of(blur, seen.new_tensor([noise_std]), *seen.shape[-2:])
    for _ in range(PROBES):
        xi = PROBE_SIZE * photograph_like(images.shape, generator).to(images)
        pushed = blur.forward(images + xi) - blur.forward(images)
        error += (deblur(network, seen + pushed, blur, noise_std) - base - xi).square().sum().item()
        floor += (linear(pushed) - xi).square().sum().item()
        size += xi.square().sum().item()
    return error / size, floor / size


def statistics(x: Tensor) -> Tensor:
    """Of a sharp plane (1, 1, H, W): log contrast, log slope, tails of slopes, share of flat pixels, skewness and log
    kurtosis of the brightness (6,)."""
    plane = x[0, 0]
    slopes = torch.cat(
        [plane.diff(dim=axis).flatten() for axis in (0, 1) if plane.shape[axis] > 1] or [plane.flatten()]
    )
    size = slopes.abs().mean() + LEAST_SLOPE
    spread = plane.std(correction=0) + LEAST_SLOPE
    tails = slopes.square().mean().sqrt() / size
    flat = (slopes.abs() < 0.1 * size).float().mean()
    standard = (plane - plane.mean()) / spread
    skewness, kurtosis = standard.pow(3).mean().clamp(-20.0, 20.0), standard.pow(4).mean().clamp(0.5, 400.0)
    return torch.stack([spread.log(), size.log(), tails.clamp(0.1, 50.0).log(), flat, skewness, kurtosis.log()])


def _scores(
    x: Tensor, y: Tensor, blur: Blur, noise_std: float, rjcp_over_floor: float, calibration: ImageCalibration
) -> Tensor:
    """Scores (S,) of one image in the order of IMAGE_SCORES."""
    of_residual = judge_residual(x, y, blur, noise_std)[0]
    whitened = calibration.whitener @ (statistics(x).double() - calibration.mean)
    misfit = abs(torch.tensor(max(of_residual["residual_to_noise"], 1e-6)).log().item())
    values = [rjcp_over_floor, misfit, abs(of_residual["residual_correlation"]), whitened.square().sum().item()]
    return torch.tensor(values, dtype=torch.float64)


def fisher_sum(p_values: Tensor) -> Tensor:
    """-2 sum log p over the columns of (B, S): (B,)."""
    return -2.0 * p_values.log().sum(1)


def _reasons(p_value: float, p_values: dict[str, float]) -> list[str]:
    if p_value >= SUSPECT_BELOW:
        return []
    ordered = sorted(p_values, key=lambda name: p_values[name])
    chosen = [name for name in ordered if p_values[name] < SUSPECT_BELOW] or ordered[:1]
    return [f"{REASONS[name]}; p = {p_values[name]:.2g}" for name in chosen]


def _correlation(residual: Tensor) -> Tensor:
    """Mean correlation with the right and the lower neighbour (B,); 0 where there are none."""
    centred = residual - residual.mean((-2, -1), keepdim=True)
    power = centred.square().mean((1, 2, 3)).clamp_min(1e-20)
    found = [
        (centred.narrow(axis, 1, n - 1) * centred.narrow(axis, 0, n - 1)).mean((1, 2, 3)) / power
        for axis in (-2, -1)
        if (n := centred.shape[axis]) > 1
    ]
    return torch.stack(found).mean(0) if found else torch.zeros(len(residual))


def _windows(x: Tensor, y: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Four windows spread over one image and its observation, or all of it where it is small: (1 or 4, 1, ...)."""
    small = WINDOW // factor
    (height, width) = y.shape[-2:]
    if max(height, width) <= small * 3 // 2:
        return x, y
    high, wide = min(small, height), min(small, width)
    corners = [(top, left) for top in _starts(height, high) for left in _starts(width, wide)]
    seen = [y[..., top : top + high, left : left + wide] for top, left in corners]
    images = [
        x[..., top * factor : (top + high) * factor, left * factor : (left + wide) * factor] for top, left in corners
    ]
    return torch.cat(images), torch.cat(seen)


def _starts(size: int, window: int) -> tuple[int, int]:
    """Two places, a third and two thirds along."""
    return (size - window) // 3, 2 * (size - window) // 3
