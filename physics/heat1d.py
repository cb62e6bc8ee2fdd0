"""Initial temperature of a rod from its temperature after some time: u_t = u_xx, u = 0 at both ends.

The explicit scheme u_i <- u_i + s (u_{i+1} - 2 u_i + u_{i-1}) is linear, so its k-fold application is one matrix, the
propagator; the forward map is that matrix product. Protocol: arXiv 2511.21076, section 4 (Heat-1D).
"""

import math

import torch
from torch import Generator, Tensor

from physics.constants import Constants
from physics.constraints import Box, Fixed, intersect
from physics.problem import Problem, Quantity

STEP_RATIO = 0.45  # s = dt / dx^2, below the scheme's stability limit 1/2
STEPS = 200
MODES = 12
AMPLITUDE = 0.5  # standard deviation of each sine coefficient
CLIP = 3.0
NOISE_STD = 0.02


def explicit_scheme(u: Tensor, steps: int = STEPS, ratio: float = STEP_RATIO) -> Tensor:
    """Applies the scheme ``steps`` times to u (B, n) with zero ends; returns (B, n)."""
    inner = torch.ones_like(u)
    inner[:, 0] = inner[:, -1] = 0.0
    u = u * inner
    for _ in range(steps):
        laplacian = torch.nn.functional.pad(u[:, 2:] - 2.0 * u[:, 1:-1] + u[:, :-2], (1, 1))
        u = u + ratio * laplacian
    return u


def sines(n: int, modes: int = MODES) -> Tensor:
    """The basis sin(k pi x), k = 1..modes, on n grid points of [0, 1]: (modes, n), float64."""
    grid = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    return torch.sin(math.pi * torch.arange(1, modes + 1, dtype=torch.float64)[:, None] * grid)


class Propagator:
    """The scheme's steps as one matrix A: forward(x) = x A^T, in whatever dtype and on whatever device x is."""

    def __init__(self, n: int, steps: int = STEPS, ratio: float = STEP_RATIO) -> None:
        self.matrix = explicit_scheme(torch.eye(n, dtype=torch.float64), steps, ratio).T.contiguous()
        self._constants = Constants(self.matrix.T, self.matrix)

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, n) -> y (B, m)."""
        return x @ self._constants.like(x)[0]

    def adjoint(self, x: Tensor, v: Tensor) -> Tensor:
        """A^T v, row by row: (B, m) -> (B, n)."""
        return v @ self._constants.like(v)[1]

    def jacobian(self, x: Tensor) -> Tensor:
        """A for every row, (B, m, n), not copied."""
        return self._constants.like(x)[1].expand(x.shape[0], -1, -1)


def heat1d(n: int = 64) -> Problem:
    """The heat problem on n grid points; n = 64 is the paper's."""
    basis = sines(n)

    def sample(count: int, generator: Generator) -> Tensor:
        coefficients = AMPLITUDE * torch.randn(count, MODES, generator=generator, dtype=torch.float64)
        x = (coefficients @ basis).clamp(-CLIP, CLIP)
        x[:, 0] = x[:, -1] = 0.0
        return x

    grid = tuple(i / (n - 1) for i in range(n))
    return Problem(
        name="heat1d",
        title="Initial temperature of a rod from its temperature later",
        forward=Propagator(n),
        sample=sample,
        noise_std=NOISE_STD,
        constraint=intersect(Box(-CLIP, CLIP), Fixed((0, n - 1), (0.0, 0.0))),
        start=(0.0,) * n,
        scale=(1.0,) * n,
        unknown=Quantity("initial temperature", n, "K", axis=grid, axis_label="position x / L"),
        observation=Quantity("temperature after 200 steps", n, "K", axis=grid, axis_label="position x / L"),
        source="arXiv 2511.21076, Heat-1D: explicit scheme, s = 0.45, 200 steps, zero ends",
    )


PROBLEM = heat1d()
