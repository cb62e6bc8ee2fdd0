"""Point spread functions: Gaussian, disk (defocus), straight motion, and kernels that somebody measured.

All are float32 (kh, kw) with odd sides, nonnegative, and of sum 1: a blur keeps the brightness.
"""

import math

import torch
from torch import Tensor

GAUSSIAN_REACH = 3.0  # standard deviations to each side, unless a size is given
SUPERSAMPLING = 8  # points per pixel along each axis, where a kernel's edge cuts pixels
NEGATIVE_SHARE = 1e-3  # of the largest value: below that a negative value is rounding


def gaussian(sigma: float, size: int | None = None) -> Tensor:
    """Isotropic Gaussian of standard deviation sigma (pixels) on size x size, by default out to three sigma."""
    if not sigma >= 0.0 or not math.isfinite(sigma):
        raise ValueError(f"a Gaussian's sigma must be a number from 0 up, not {sigma}")
    reach = max(1, math.ceil(GAUSSIAN_REACH * sigma)) if size is None else size // 2
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    row = torch.exp(-0.5 * (at / max(sigma, 1e-6)).square())
    return tidy(row[:, None] * row)


def disk(radius: float) -> Tensor:
    """Defocus: a uniform disk of that radius (pixels), its edge pixels by the share the disk covers."""
    if not 0.0 < radius < math.inf:
        raise ValueError(f"a disk's radius must be positive, not {radius}")
    x, y = _fine_grid(math.ceil(radius))
    return tidy(_binned((x.square() + y.square() <= radius**2).double()))


def motion(length: float, degrees: float) -> Tensor:
    """Straight motion over that length (pixels), at that angle counter-clockwise from the x axis; one pixel wide."""
    if not 0.0 <= length < math.inf:
        raise ValueError(f"a motion's length must be a number from 0 up, not {length}")
    x, y = _fine_grid(math.ceil((length + 1.0) / 2.0))
    angle = math.radians(degrees)
    along = math.cos(angle) * x - math.sin(angle) * y  # the y axis of an image points down
    across = math.sin(angle) * x + math.cos(angle) * y
    return tidy(_binned(((along.abs() <= (length + 1.0) / 2.0) & (across.abs() <= 0.5)).double()))


def tidy(kernel: Tensor) -> Tensor:
    """Any (kh, kw) as a kernel: sides made odd, an empty rim and rounding below zero cut off, sum made 1.

    Raises:
        ValueError: not a matrix, not finite, truly negative somewhere, or of sum zero.
    """
    if kernel.ndim != 2 or not kernel.numel():
        raise ValueError(f"a kernel is a matrix, not of shape {tuple(kernel.shape)}")
    kernel = kernel.double()
    if not kernel.isfinite().all():
        raise ValueError("a kernel's values must be finite")
    if kernel.min() < -NEGATIVE_SHARE * kernel.max().clamp_min(0.0):
        raise ValueError("a kernel's values must not be negative")
    kernel = kernel.clamp_min(0.0)
    if not kernel.sum() > 0.0:
        raise ValueError("a kernel's values must not sum to zero")
    kernel = kernel / kernel.max()  # so that no sum overflows
    height, width = kernel.shape
    odd = torch.nn.functional.pad(kernel, (0, 1 - width % 2, 0, 1 - height % 2))
    odd = _without_rim(_without_rim(odd).T).T
    return (odd / odd.sum()).float().contiguous()


def framed(kernel: Tensor, side: int) -> Tensor:
    """The kernel in the middle of side x side zeros, so that kernels of several sizes stack."""
    height, width = kernel.shape
    if max(height, width) > side:
        raise ValueError(f"a kernel of {height} x {width} does not fit into {side} x {side}")
    rows, columns = (side - height) // 2, (side - width) // 2
    return torch.nn.functional.pad(kernel, (columns, side - width - columns, rows, side - height - rows))


def _without_rim(kernel: Tensor) -> Tensor:
    """Without the zero rows that can go from both ends alike: the middle stays where it is."""
    middle = kernel.shape[0] // 2
    reach = int((kernel.any(1).nonzero() - middle).abs().max())
    return kernel[middle - reach : middle + reach + 1]


def _fine_grid(reach: int) -> tuple[Tensor, Tensor]:
    """Coordinates of SUPERSAMPLING^2 points in each pixel of a (2 reach + 1)^2 kernel: (1, fine), (fine, 1)."""
    fine = (2 * reach + 1) * SUPERSAMPLING
    at = (torch.arange(fine, dtype=torch.float64) + 0.5) / SUPERSAMPLING - reach - 0.5
    return at[None, :], at[:, None]


def _binned(fine: Tensor) -> Tensor:
    """Means over the points of each pixel."""
    return torch.nn.functional.avg_pool2d(fine[None], SUPERSAMPLING)[0]
