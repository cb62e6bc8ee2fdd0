"""Early state of a two-phase alloy from its state later: u_t = epsilon^2 (u_xx + u_yy) + u - u^3, periodic in x and y.

The published scheme, reaction explicit and diffusion implicit, 60 steps of dt = 0.002 on 32 x 32 points of [0, 1]^2:

    (I - dt epsilon^2 Laplacian) u+ = u + dt (u - u^3),       y = clip(u(T), -1, 1)

with the Laplacian taken spectrally. It is stable for |u| <= 1 at dt < 1/2 (the reaction maps [-1, 1] into itself and no
mode of the implicit part grows). The transform is written with the real Fourier basis as matrix products: the same
numbers as an FFT, as quick at this size, and free of complex numbers, which not every engine has. The clip is kept
because the published sensor has it: the spectral scheme overshoots by up to 0.03 beside the edge of a disk, in one
point in fifty. Noise is added after the clip and not clipped again, unlike the published data, where it is: clipping
hides most of the background's noise, and then "fits to the noise" would mean something else at every point.
Unknowns are 2 to 5 disks of phase +1 in phase -1 with 0.05 of noise of their own, clipped to [-1, 1].
Protocol: the Allen-Cahn example published with arXiv 2605.13068.
"""

import math

import torch
from torch import Generator, Tensor

from physics.constants import Constants
from physics.constraints import Box
from physics.problem import Problem, Quantity

EPSILON = 0.04
STEP = 0.002
STEPS = 60
DISKS = (2, 5)  # how many, both ends included
DISK_CENTRE, DISK_RADIUS = (0.15, 0.85), (0.05, 0.16)  # uniform in these
ROUGHNESS = 0.05
NOISE_STD = 0.002


def real_fourier(side: int) -> tuple[Tensor, Tensor]:
    """Orthonormal sampled sines and cosines on [0, 1), one a row (side, side), and their wavenumbers (side,)."""
    i = torch.arange(side, dtype=torch.float64)
    frequency = (i + 1).div(2, rounding_mode="floor")  # 0, 1, 1, 2, 2, ...
    phase = 2.0 * math.pi * frequency[:, None] * i / side
    rows = torch.where((i % 2 == 1)[:, None], torch.cos(phase), torch.sin(phase))
    rows[0] = 1.0
    return rows / rows.norm(dim=1, keepdim=True), 2.0 * math.pi * frequency


class AllenCahn:
    """x (B, side^2) -> y (B, side^2), by ``steps`` steps of the scheme above."""

    def __init__(self, side: int, steps: int = STEPS, step: float = STEP, epsilon: float = EPSILON) -> None:
        self.side, self.steps, self.step = side, steps, step
        Q, k = real_fourier(side)
        damping = 1.0 / (1.0 + step * epsilon**2 * (k[:, None] ** 2 + k**2))
        self._constants = Constants(Q, Q.T, damping)

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, n) -> y (B, n)."""
        Q, Q_T, damping = self._constants.like(x)
        u = x.reshape(-1, self.side, self.side)
        for _ in range(self.steps):
            # Scaled by alpha, not by a product: forward-mode differentiation of products with constants is slow.
            reacted = torch.sub(torch.add(u, u, alpha=self.step), u**3, alpha=self.step)
            u = Q_T @ (damping * (Q @ (reacted @ Q_T))) @ Q
        return u.reshape(x.shape).clamp(-1.0, 1.0)


def disks(side: int, count: int, generator: Generator) -> Tensor:
    """-1 with 2 to 5 disks of +1, which may overlap: (count, side, side), float64."""
    least, most = DISKS

    def uniform(bounds: tuple[float, float]) -> Tensor:
        low, high = bounds
        draws = torch.rand(count, most, generator=generator, dtype=torch.float64)
        return (low + (high - low) * draws)[:, :, None, None]

    there = torch.arange(most) < torch.randint(least, most + 1, (count, 1), generator=generator)
    centre_x, centre_y, radius = uniform(DISK_CENTRE), uniform(DISK_CENTRE), uniform(DISK_RADIUS)
    middle = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    inside = (middle - centre_x) ** 2 + (middle[:, None] - centre_y) ** 2 <= radius**2
    covered = (inside & there[:, :, None, None]).any(1)
    return torch.where(covered, 1.0, -1.0).double()


def allen_cahn2d(side: int = 32) -> Problem:
    """The problem on side^2 points; side = 32 is the published one."""
    n, grid = side**2, (side, side)

    def sample(count: int, generator: Generator) -> Tensor:
        field = disks(side, count, generator).flatten(1)
        return (field + ROUGHNESS * torch.randn(count, n, generator=generator, dtype=torch.float64)).clamp(-1.0, 1.0)

    return Problem(
        name="allen_cahn2d",
        title="Early state of a two-phase alloy from its state later",
        forward=AllenCahn(side),
        sample=sample,
        noise_std=NOISE_STD,
        constraint=Box(-1.0, 1.0),
        start=(0.0,) * n,
        scale=(1.0,) * n,
        unknown=Quantity("phase at t = 0", n, "1", grid=grid),
        observation=Quantity("phase at t = 0.12", n, "1", grid=grid),
        source="arXiv 2605.13068, Allen-Cahn example: epsilon = 0.04, T = 0.12, dt = 0.002, 32 x 32, periodic",
    )


PROBLEM = allen_cahn2d()
