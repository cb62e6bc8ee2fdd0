"""Nonlinear Heat-1D against SciPy's sine transform, the PDE on a finer grid, and its own linear limit."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dst, idst
from torch import Generator, Tensor

from physics.heat1d_nonlinear import (
    CUBIC,
    DIFFUSIVITY,
    DURATION,
    MIX,
    MODES,
    PROBLEM,
    SINE,
    SINE_RATE,
    heat_propagator,
    interior,
    neighbour_mixing,
    sines,
)

N = PROBLEM.n


def draw(count: int = 20, seed: int = 0) -> Tensor:
    return PROBLEM.sample(count, Generator().manual_seed(seed))


def reading(x: np.ndarray) -> np.ndarray:
    """The published definition, written with a sine transform and a loop over sensors."""
    k = np.arange(1, N + 1)
    u = idst(dst(x, type=1) * np.exp(-DIFFUSIVITY * (np.pi * k) ** 2 * DURATION), type=1)
    z = np.empty_like(u)
    for i in range(N):
        seen = [(1.0, u[:, i])]
        seen += [(MIX, u[:, j]) for j in (i - 1, i + 1) if 0 <= j < N]
        z[:, i] = sum(weight * value for weight, value in seen) / sum(weight for weight, _ in seen)
    return np.asarray(z + CUBIC * z**3 + SINE * np.sin(SINE_RATE * z))


def test_is_the_published_definition() -> None:
    x = draw()
    np.testing.assert_allclose(PROBLEM.forward(x).numpy(), reading(x.numpy()), rtol=0, atol=1e-13)


def test_sines_are_orthonormal_and_their_own_inverse() -> None:
    S = sines(N, N)
    torch.testing.assert_close(S @ S, torch.eye(N, dtype=torch.float64), rtol=0, atol=1e-13)
    torch.testing.assert_close(S, S.T, rtol=0, atol=1e-13)


@pytest.mark.parametrize("mode", [1, 2, 5])
def test_heat_decays_as_in_the_continuum(mode: int) -> None:
    """Sampled at the grid points, each sine decays by exactly exp(-D (k pi)^2 T): no error of time or space."""
    u = torch.sin(mode * math.pi * interior(N))
    expected = math.exp(-DIFFUSIVITY * (mode * math.pi) ** 2 * DURATION) * u
    torch.testing.assert_close(heat_propagator(N, DIFFUSIVITY, DURATION) @ u, expected, rtol=0, atol=1e-14)


def test_heat_flows_as_by_implicit_differences() -> None:
    """Crank-Nicolson on the same points, four hundred steps: second-order differences know nothing of sines."""
    n, steps = 255, 400
    x = torch.sin(math.pi * interior(n)) + 0.3 * torch.sin(3 * math.pi * interior(n))
    ones = torch.ones(n - 1, dtype=torch.float64)
    laplacian = (n + 1) ** 2 * (torch.diag(ones, 1) + torch.diag(ones, -1) - 2 * torch.eye(n, dtype=torch.float64))
    half = 0.5 * DURATION / steps * DIFFUSIVITY * laplacian
    eye = torch.eye(n, dtype=torch.float64)
    step = torch.linalg.solve(eye - half, eye + half)
    expected = torch.linalg.matrix_power(step, steps) @ x
    torch.testing.assert_close(heat_propagator(n, DIFFUSIVITY, DURATION) @ x, expected, rtol=0, atol=2e-5)


def test_small_fields_see_the_linear_limit() -> None:
    """y = z (1 + 3 * .08) + O(z^3)."""
    x = 1e-4 * draw()
    linear = (1.0 + SINE * SINE_RATE) * x @ PROBLEM.forward.matrix.T  # type: ignore[attr-defined]
    torch.testing.assert_close(PROBLEM.forward(x), linear, rtol=0, atol=1e-12)


def test_sensors_average_their_neighbours() -> None:
    M = neighbour_mixing(4)
    assert M[0].tolist() == pytest.approx([1 / 1.1, 0.1 / 1.1, 0, 0])
    assert M[1].tolist() == pytest.approx([0.1 / 1.2, 1 / 1.2, 0.1 / 1.2, 0])
    torch.testing.assert_close(M.sum(1), torch.ones(4, dtype=torch.float64))


def test_a_sensor_reads_more_where_it_is_warmer() -> None:
    """The bend is monotone over all that can be read, so it hides nothing."""
    z = torch.linspace(-1.5, 1.5, 1001, dtype=torch.float64)
    slope = 1.0 + 3 * CUBIC * z**2 + SINE * SINE_RATE * torch.cos(SINE_RATE * z)
    assert slope.min() > 0.7


def test_samples_fill_zero_to_one_with_ten_sines() -> None:
    x = draw(2000)
    assert (x.amin(1) == 0).all()
    assert (x.amax(1) == 1).all()
    basis = torch.cat([sines(N, MODES), torch.ones(1, N, dtype=torch.float64)])  # stretching adds a constant
    modes = torch.linalg.lstsq(basis.T, x.T).solution
    torch.testing.assert_close(basis.T @ modes, x.T)
    assert torch.equal(draw(seed=3), draw(seed=3))


def test_samples_spread_as_published() -> None:
    """Before stretching: unit spread falling as 1 / k, the first mode hypot(1, 1/4); stretching keeps the ratios."""
    x = draw(6000)
    basis = torch.cat([sines(N, MODES), torch.ones(1, N, dtype=torch.float64)])
    modes = torch.linalg.lstsq(basis.T, x.T).solution[:MODES].T
    ratio = (modes / modes.norm(dim=1, keepdim=True)).square().mean(0).sqrt()
    expected = torch.cat([torch.tensor([math.hypot(1.0, 0.25)]), 1.0 / torch.arange(2, MODES + 1)]).double()
    drawn = expected * torch.randn(6000, MODES, generator=Generator().manual_seed(1), dtype=torch.float64)
    drawn = (drawn / drawn.norm(dim=1, keepdim=True)).square().mean(0).sqrt()
    torch.testing.assert_close(ratio, drawn, rtol=0.05, atol=0)
