"""Scores that need no Jacobian: how an observation, its fit and its residual look."""

import math
from functools import cache
from itertools import product

import torch
from torch import Tensor

SMOOTH_MODES = 8
STRETCH = 8  # neighbouring changes in a stretch of sensors
STILLEST = 1e-3  # of the noise: quieter than this is simply still


@cache
def smooth_modes(grid: tuple[int, ...]) -> Tensor:
    """The SMOOTH_MODES slowest cosines on a grid, orthonormal: (modes, m), float64; fewer where m is smaller."""
    axes = [_cosines(size, min(size, SMOOTH_MODES)) for size in grid]
    orders = product(*(range(len(axis)) for axis in axes))
    slowest = sorted(orders, key=lambda order: (sum(k * k for k in order), order))[:SMOOTH_MODES]
    rows = []
    for order in slowest:
        row = torch.ones(1, dtype=torch.float64)
        for axis, k in zip(axes, order, strict=True):
            row = torch.kron(row, axis[k].contiguous())
        rows.append(row)
    return torch.stack(rows)


def _cosines(size: int, count: int) -> Tensor:
    middle = torch.arange(size, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi * torch.arange(count, dtype=torch.float64)[:, None] * middle / size)
    out: Tensor = rows / rows.square().sum(1, keepdim=True).sqrt()
    return out


def trend(residual: Tensor, grid: tuple[int, ...]) -> Tensor:
    """rms of a residual in units of noise (B, m) along the slowest modes of its grid: (B,), about 1 for pure noise."""
    slow = residual @ smooth_modes(grid).to(residual).T
    return slow.square().mean(1).sqrt()


@cache
def offset_and_tilts(grid: tuple[int, ...]) -> Tensor:
    """What a drifting baseline adds to sensors on a grid: a constant, and a ramp along each axis: (k, m), float64."""
    ramps = torch.meshgrid([torch.linspace(-1.0, 1.0, size, dtype=torch.float64) for size in grid], indexing="ij")
    tilts = [ramp.flatten() for ramp, size in zip(ramps, grid, strict=True) if size > 1]
    return torch.stack([torch.ones(math.prod(grid), dtype=torch.float64), *tilts])


def stillness(observation: Tensor, noise_std: float) -> Tensor:
    """Noise over the rms change from sensor to sensor (over sqrt 2), in the stillest stretch of y (B, m): (B,).

    Where there is sensor noise no stretch is still; a stuck sensor, or a filter before us, makes one.
    """
    changes = observation.double().diff(dim=1) / (2.0**0.5 * noise_std)
    if not changes.shape[1]:
        return torch.zeros(len(observation), dtype=torch.float64, device=observation.device)
    width = max(1, min(STRETCH, observation.shape[1] // STRETCH))
    stillest = changes.square().unfold(1, width, 1).mean(2).amin(1)
    out: Tensor = (stillest + STILLEST**2).rsqrt()
    return out
