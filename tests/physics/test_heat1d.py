"""Heat-1D against the scheme, its matrix power, its exact eigenvalues and the sine series of the heat equation."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from physics.heat1d import (
    AMPLITUDE,
    CLIP,
    MODES,
    PROBLEM,
    STEP_RATIO,
    STEPS,
    Propagator,
    explicit_scheme,
    heat1d,
    sines,
)

N = PROBLEM.n


def draw(count: int = 20, seed: int = 0) -> Tensor:
    return PROBLEM.sample(count, Generator().manual_seed(seed))


def step_matrix(n: int, ratio: float) -> np.ndarray:
    """One step of the scheme, written down entry by entry; the ends are zero and feed nothing."""
    A = np.zeros((n, n))
    for i in range(1, n - 1):
        A[i, i - 1 : i + 2] = ratio, 1.0 - 2.0 * ratio, ratio
    A[:, [0, -1]] = 0.0
    return A


def test_propagator_is_the_scheme() -> None:
    x = torch.randn(20, N, dtype=torch.float64)
    torch.testing.assert_close(PROBLEM.forward(x), explicit_scheme(x), rtol=0, atol=1e-13)


def test_propagator_is_the_matrix_power_of_one_step() -> None:
    x = torch.randn(20, N, dtype=torch.float64)
    expected = x.numpy() @ np.linalg.matrix_power(step_matrix(N, STEP_RATIO), STEPS).T
    np.testing.assert_allclose(PROBLEM.forward(x).numpy(), expected, rtol=0, atol=1e-13)


def test_ends_are_zero_whatever_comes_in() -> None:
    y = PROBLEM.forward(torch.ones(3, N, dtype=torch.float64))
    assert (y[:, [0, -1]] == 0).all()
    assert (explicit_scheme(torch.ones(3, N), steps=0)[:, [0, -1]] == 0).all()


def test_sines_decay_by_the_eigenvalues_of_the_scheme() -> None:
    """Sampled sines are eigenvectors of the scheme: each step multiplies mode k by 1 - 4 s sin^2(k pi dx / 2)."""
    k = torch.arange(1, MODES + 1, dtype=torch.float64)
    decay = (1.0 - 4.0 * STEP_RATIO * torch.sin(k * math.pi / (N - 1) / 2.0) ** 2) ** STEPS
    torch.testing.assert_close(PROBLEM.forward(sines(N)), decay[:, None] * sines(N), rtol=0, atol=1e-12)


def series_error(cells: int, mode: int, ratio: float, time: float) -> float:
    """How far the scheme ends from u_t = u_xx with u = 0 at the ends: sin(k pi x) e^{-(k pi)^2 t}."""
    steps = time * cells**2 / ratio
    assert abs(steps - round(steps)) < 1e-9
    u = sines(cells + 1, mode)[mode - 1 :]
    exact = math.exp(-((mode * math.pi) ** 2) * time) * u
    return (explicit_scheme(u, round(steps), ratio) - exact).abs().max().item()


@pytest.mark.parametrize(("ratio", "order"), [(0.4, 2), (0.25, 2), (1.0 / 6.0, 4)])
def test_converges_to_the_heat_equation_at_its_order(ratio: float, order: int) -> None:
    """Second order in dx at a fixed time; fourth at s = 1/6, where the leading errors of time and space cancel."""
    time = 0.05
    errors = [series_error(cells, 3, ratio, time) for cells in (40, 80, 160)]
    observed = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert observed == pytest.approx([order] * 2, abs=0.06)


def test_distance_from_the_sine_series_is_the_discretisation_error() -> None:
    """The scheme decays mode k by exp(steps s th^4 (1/12 - s/2)) relative to the series, th = k pi dx, up to th^6."""
    dx = 1.0 / (N - 1)
    time = STEPS * STEP_RATIO * dx**2
    theta = torch.arange(1, MODES + 1, dtype=torch.float64) * math.pi * dx
    series = torch.exp(-((theta / dx) ** 2) * time)
    decay = PROBLEM.forward(sines(N)).square().sum(1).sqrt() / sines(N).square().sum(1).sqrt()
    explained = STEPS * STEP_RATIO * theta**4 * (1.0 / 12.0 - STEP_RATIO / 2.0)
    torch.testing.assert_close((decay / series).log(), explained, rtol=0.20, atol=0)
    # In temperature, and so next to the noise: what "continuous limit" leaves out is a fifth of the noise at most.
    coefficients = AMPLITUDE * torch.randn(500, MODES, generator=Generator().manual_seed(1), dtype=torch.float64)
    difference = PROBLEM.forward(coefficients @ sines(N)) - (coefficients * series) @ sines(N)
    assert difference.square().mean().sqrt() < 0.2 * PROBLEM.noise_std


def test_higher_modes_are_lost_in_the_noise() -> None:
    """Why the problem is ill-posed: a whole unit of the highest mode leaves less than the noise in the data."""
    y = PROBLEM.forward(sines(N))
    assert y[0].abs().max() > 0.7
    assert y[-1].abs().max() < PROBLEM.noise_std


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = draw().to(dtype)
    y = PROBLEM.forward(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), PROBLEM.forward(x.double()), rtol=0, atol=2e-6)


def test_first_use_without_gradients_does_not_spoil_later_ones() -> None:
    """The matrix is cast once per dtype and kept: made in inference mode, it could never meet autograd again."""
    propagator = Propagator(8)
    for dtype in (torch.float32, torch.float64):
        with torch.inference_mode():
            propagator(torch.ones(2, 8, dtype=dtype))
        x = torch.ones(2, 8, dtype=dtype, requires_grad=True)
        propagator(x).sum().backward()
        assert x.grad is not None


def test_first_use_inside_a_transform_does_not_spoil_later_ones() -> None:
    propagator = Propagator(8)
    x = torch.randn(2, 8)
    jacobian = torch.func.vmap(torch.func.jacfwd(lambda row: propagator(row[None])[0]))(x)
    torch.testing.assert_close(propagator(x), (jacobian @ x[..., None])[..., 0])
    torch.testing.assert_close(torch.func.vjp(propagator, x)[1](x)[0], (jacobian.mT @ x[..., None])[..., 0])


def test_samples_obey_the_prior() -> None:
    x = draw(4000)
    assert x.dtype == torch.float64
    assert PROBLEM.constraint.contains(x, 0.0).all()
    assert (x.abs() == CLIP).any(), "the prior is clipped, and some items reach the clip"
    unclipped = (x.abs() < CLIP).all(1)
    modes = torch.linalg.lstsq(sines(N).T, x[unclipped].T).solution.T
    torch.testing.assert_close(modes @ sines(N), x[unclipped])
    torch.testing.assert_close(x.mean(0), torch.zeros(N, dtype=torch.float64), rtol=0, atol=0.08)
    variance = AMPLITUDE**2 * sines(N).square().sum(0)
    torch.testing.assert_close(x.var(0), variance, rtol=0.12, atol=1e-12)


def test_samples_are_reproducible() -> None:
    assert torch.equal(draw(seed=3), draw(seed=3))
    assert not torch.equal(draw(seed=3), draw(seed=4))


def test_projection_clips_and_pins_the_ends() -> None:
    x = 10.0 * torch.randn(5, N, dtype=torch.float64)
    inside = PROBLEM.constraint.project(x)
    assert (inside[:, [0, -1]] == 0).all()
    assert torch.equal(inside[:, 1:-1], x[:, 1:-1].clamp(-CLIP, CLIP))


@pytest.mark.parametrize("n", [3, 16, 65])
def test_other_grids(n: int) -> None:
    problem = heat1d(n)
    x, y = problem.simulate(4, Generator().manual_seed(0))
    assert x.shape == y.shape == (4, n)
    torch.testing.assert_close(y, explicit_scheme(x), rtol=0, atol=1e-13)
