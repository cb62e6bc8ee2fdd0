"""Initial temperature of a block from nonlinear readings of its temperature later: u_t = D (u_xx + u_yy + u_zz).

u = 0 outside; the 8^3 unknowns lie between the faces. In sines the heat equation is exact in time and falls apart into
three one-dimensional propagators P. Each sensor sees its six neighbours a little and bends what it sees:

    z = ((1 - b) I + b K) (P x P x P) x,   K = (8 own + 1 per face neighbour) / 14,   y = z + .02 z^3 + .008 sin 2z

Neighbours outside the block read 0. The linear part is kept as one 512 x 512 matrix: one product is quicker here than
three small ones and a convolution. Unknowns are 3^3 sine modes with coefficients falling as 1 / (i j k), plus one faint
warm spot, each sample stretched to [0, 1]. Protocol: the Heat-3D example published with arXiv 2605.13068.
"""

import torch
from torch import Generator, Tensor

from physics.constraints import Box
from physics.heat1d_nonlinear import BentLinear, heat_propagator, interior, sines, stretched
from physics.problem import Problem, Quantity

DIFFUSIVITY = 0.10
DURATION = 0.012
BLUR = 0.025
OWN_WEIGHT, NEIGHBOURS = 8.0, 6.0
CUBIC, SINE, SINE_RATE = 0.020, 0.008, 2.0
MODES = 3
SPOT_CENTRE, SPOT_WIDTH, SPOT_HEIGHT = (0.30, 0.70), (0.10, 0.14), (0.02, 0.10)  # uniform in these
NOISE_STD = 0.0015


def neighbour_blur(side: int) -> Tensor:
    """(1 - b) I + b K above, (side^3, side^3), float64."""
    eye, ones = torch.eye(side, dtype=torch.float64), torch.ones(side - 1, dtype=torch.float64)
    line = torch.diag(ones, 1) + torch.diag(ones, -1)
    faces = _kron3(line, eye, eye) + _kron3(eye, line, eye) + _kron3(eye, eye, line)
    whole = torch.eye(side**3, dtype=torch.float64)
    return (1.0 - BLUR) * whole + BLUR * (OWN_WEIGHT * whole + faces) / (OWN_WEIGHT + NEIGHBOURS)


def _kron3(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.kron(torch.kron(a.contiguous(), b.contiguous()), c.contiguous())


class NonlinearHeat3D(BentLinear):
    """The forward map on side^3 interior points; the linear part is one matrix product."""

    def __init__(self, side: int) -> None:
        P = heat_propagator(side, DIFFUSIVITY, DURATION)
        super().__init__(neighbour_blur(side) @ _kron3(P, P, P), CUBIC, SINE, SINE_RATE)


def smooth_fields(side: int, count: int, generator: Generator) -> Tensor:
    """Sums of 3^3 products of unit-norm sines: (count, side^3), float64."""
    basis = sines(side, MODES)
    basis = basis / basis.norm(dim=1, keepdim=True)
    falling = 1.0 / torch.arange(1, MODES + 1, dtype=torch.float64)
    spread = falling[:, None, None] * falling[:, None] * falling
    coefficients = spread * torch.randn(count, MODES, MODES, MODES, generator=generator, dtype=torch.float64)
    return coefficients.reshape(count, -1) @ _kron3(basis, basis, basis)


def warm_spots(side: int, count: int, generator: Generator) -> Tensor:
    """One Gaussian spot a sample, its widths along the axes its own: (count, side^3), float64."""

    def uniform(bounds: tuple[float, float], columns: int) -> Tensor:
        low, high = bounds
        return low + (high - low) * torch.rand(count, columns, 1, generator=generator, dtype=torch.float64)

    centre, width, height = uniform(SPOT_CENTRE, 3), uniform(SPOT_WIDTH, 3), uniform(SPOT_HEIGHT, 1)
    x, y, z = torch.exp(-((interior(side) - centre) ** 2) / (2.0 * width**2)).unbind(1)
    return (height[:, 0, :, None, None] * x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1)


def heat3d(side: int = 8) -> Problem:
    """The problem on side^3 interior points; side = 8 is the published one."""
    n, grid = side**3, (side, side, side)

    def sample(count: int, generator: Generator) -> Tensor:
        return stretched(smooth_fields(side, count, generator) + warm_spots(side, count, generator))

    return Problem(
        name="heat3d",
        title="Initial temperature of a block through sensors that mix and bend",
        forward=NonlinearHeat3D(side),
        sample=sample,
        noise_std=NOISE_STD,
        constraint=Box(0.0, 1.0),
        start=(0.0,) * n,
        scale=(1.0,) * n,
        unknown=Quantity("initial temperature", n, "1", grid=grid),
        observation=Quantity("sensor reading at T = 0.012", n, "1", grid=grid),
        source="arXiv 2605.13068, Heat-3D example: D = 0.10, T = 0.012, reading z + 0.02 z^3 + 0.008 sin 2z",
    )


PROBLEM = heat3d()
