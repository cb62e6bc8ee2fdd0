"""Initial temperature of a rod from a nonlinear sensor's reading of its temperature later: u_t = D u_xx, u = 0 outside.

The n unknowns lie at x_i = i / (n + 1), between the ends. In sines the heat equation is exact in time: mode k decays by
exp(-D (k pi)^2 T). Each sensor sees its neighbours a little and bends what it sees:

    z = M u(T),   M = tridiag(mix, 1, mix) with rows summing to 1,      y = z + .18 z^3 + .08 sin 3z

Linear part M S diag(decay) S is one matrix; y grows with z everywhere, so the bend itself loses nothing. Unknowns are
ten sines with coefficients falling as 1 / k, each sample stretched to [0, 1].
Protocol: the Heat-1D example published with arXiv 2605.13068.
"""

import math

import torch
from torch import Generator, Tensor

from physics.constants import Constants
from physics.constraints import Box
from physics.problem import Problem, Quantity

DIFFUSIVITY = 0.18
DURATION = 0.08
MIX = 0.10  # weight of each neighbour beside the sensor's own 1
CUBIC, SINE, SINE_RATE = 0.18, 0.08, 3.0
MODES = 10
EXTRA_FIRST = 0.25  # further spread of the first coefficient
NOISE_STD = 0.01


def interior(n: int) -> Tensor:
    """The n points between the ends of [0, 1]: (n,), float64."""
    return torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)


def sines(n: int, modes: int) -> Tensor:
    """Orthonormal sampled sines sqrt(2 / (n + 1)) sin(k pi x_i): (modes, n), float64. All n are S = S^T = S^-1."""
    k = torch.arange(1, modes + 1, dtype=torch.float64)
    return math.sqrt(2.0 / (n + 1)) * torch.sin(math.pi * k[:, None] * interior(n))


def heat_propagator(n: int, diffusivity: float, duration: float) -> Tensor:
    """The heat equation over ``duration`` on the interior grid: (n, n), symmetric, float64."""
    S = sines(n, n)
    decay = torch.exp(-diffusivity * duration * (math.pi * torch.arange(1, n + 1, dtype=torch.float64)) ** 2)
    return S.T @ (decay[:, None] * S)


def neighbour_mixing(n: int) -> Tensor:
    """M above, (n, n), float64."""
    ones = torch.ones(n - 1, dtype=torch.float64)
    M = torch.eye(n, dtype=torch.float64) + MIX * (torch.diag(ones, 1) + torch.diag(ones, -1))
    return M / M.sum(1, keepdim=True)


def stretched(x: Tensor) -> Tensor:
    """Each row (n,) of x (B, n) mapped onto [0, 1]."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    return (x - low) / (high - low)


class BentLinear:
    """y = z + c z^3 + s sin(w z), z = A x: x (B, n) -> y (B, m), with its derivatives."""

    def __init__(self, matrix: Tensor, cubic: float, sine: float, rate: float) -> None:
        self.matrix = matrix
        self.cubic, self.sine, self.rate = cubic, sine, rate
        self._constants = Constants(matrix.T, matrix)

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, n) -> y (B, m)."""
        z = x @ self._constants.like(x)[0]
        return z + self.cubic * z**3 + self.sine * torch.sin(self.rate * z)

    def adjoint(self, x: Tensor, v: Tensor) -> Tensor:
        """A^T (slope v), row by row: (B, n)."""
        return (self._slope(x) * v) @ self._constants.like(x)[1]

    def jacobian(self, x: Tensor) -> Tensor:
        """diag(slope) A, (B, m, n)."""
        return self._slope(x)[:, :, None] * self._constants.like(x)[1]

    def _slope(self, x: Tensor) -> Tensor:
        """dy / dz (B, m)."""
        z = x @ self._constants.like(x)[0]
        return 1.0 + 3.0 * self.cubic * z * z + self.sine * self.rate * torch.cos(self.rate * z)


class NonlinearHeat1D(BentLinear):
    """The forward map on n interior points; the linear part is one matrix product."""

    def __init__(self, n: int) -> None:
        super().__init__(neighbour_mixing(n) @ heat_propagator(n, DIFFUSIVITY, DURATION), CUBIC, SINE, SINE_RATE)


def heat1d_nonlinear(n: int = 64) -> Problem:
    """The problem on n interior points; n = 64 is the published one."""
    spread = 1.0 / torch.arange(1, MODES + 1, dtype=torch.float64)
    spread[0] = math.hypot(1.0, EXTRA_FIRST)
    basis = sines(n, MODES)
    basis = basis / basis.norm(dim=1, keepdim=True)

    def sample(count: int, generator: Generator) -> Tensor:
        coefficients = spread * torch.randn(count, MODES, generator=generator, dtype=torch.float64)
        return stretched(coefficients @ basis)

    axis = tuple(interior(n).tolist())
    return Problem(
        name="heat1d_nonlinear",
        title="Initial temperature of a rod through sensors that mix and bend",
        forward=NonlinearHeat1D(n),
        sample=sample,
        noise_std=NOISE_STD,
        constraint=Box(0.0, 1.0),
        start=(0.0,) * n,
        scale=(1.0,) * n,
        unknown=Quantity("initial temperature", n, "1", axis=axis, axis_label="position x / L"),
        observation=Quantity("sensor reading at T = 0.08", n, "1", axis=axis, axis_label="position x / L"),
        source="arXiv 2605.13068, Heat-1D example: D = 0.18, T = 0.08, reading z + 0.18 z^3 + 0.08 sin 3z",
    )


PROBLEM = heat1d_nonlinear()
