"""Allen-Cahn against NumPy's FFT, SciPy's integrator, a refined time step, and what is known of the equation."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Generator, Tensor

from physics.allen_cahn2d import (
    DISK_RADIUS,
    EPSILON,
    PROBLEM,
    ROUGHNESS,
    STEP,
    STEPS,
    AllenCahn,
    disks,
    real_fourier,
)

SIDE = 32


def draw(count: int = 6, seed: int = 0) -> Tensor:
    return PROBLEM.sample(count, Generator().manual_seed(seed))


def smooth(side: int) -> Tensor:
    """A field that 32 points resolve to many digits: (1, side^2)."""
    t = 2 * math.pi * torch.arange(side, dtype=torch.float64) / side
    return (0.5 * torch.cos(t)[:, None] + 0.3 * torch.sin(2 * t) + 0.1).reshape(1, -1)


def laplacian_symbol(side: int) -> np.ndarray:
    k = 2 * np.pi * np.fft.fftfreq(side, 1 / side)
    return np.asarray(k[:, None] ** 2 + k**2)


def by_fft(x: np.ndarray) -> np.ndarray:
    """The published scheme with NumPy's complex transform, clipped, for a stack of fields."""
    u = x.reshape(-1, SIDE, SIDE)
    for _ in range(STEPS):
        u = np.fft.ifft2(np.fft.fft2(u + STEP * (u - u**3)) / (1 + STEP * EPSILON**2 * laplacian_symbol(SIDE))).real
    return np.asarray(np.clip(u, -1, 1)).reshape(x.shape)


def integrated(x: np.ndarray, side: int) -> np.ndarray:
    """The equation in time by SciPy's DOP853, spectral in space, unclipped."""

    def rate(_: float, u: np.ndarray) -> np.ndarray:
        field = u.reshape(side, side)
        spread = np.fft.ifft2(-(EPSILON**2) * laplacian_symbol(side) * np.fft.fft2(field)).real
        return np.asarray(spread + field - field**3).ravel()

    return np.asarray(solve_ivp(rate, (0, STEP * STEPS), x, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1])


def test_is_the_published_scheme() -> None:
    x = draw()
    np.testing.assert_allclose(PROBLEM.forward(x).numpy(), by_fft(x.numpy()), rtol=0, atol=1e-12)


def test_agrees_with_an_integrator() -> None:
    """First order in time: at dt = 0.002 the scheme is within the noise of the equation itself."""
    x = smooth(16)
    expected = integrated(x[0].numpy(), 16)
    off = np.abs(AllenCahn(16)(x)[0].numpy() - expected).max()
    assert off < 0.2 * PROBLEM.noise_std


def test_refined_steps_approach_the_integrator_at_first_order() -> None:
    x = smooth(16)
    expected = torch.from_numpy(integrated(x[0].numpy(), 16))
    errors = [
        (AllenCahn(16, steps=STEPS * finer, step=STEP / finer)(x)[0] - expected).abs().max().item()
        for finer in (1, 2, 4)
    ]
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([1.0, 1.0], abs=0.05)


def test_flat_fields_follow_the_reaction_alone() -> None:
    """u' = u - u^3 from a constant c: u^2 = 1 / (1 + (1 / c^2 - 1) e^(-2 t)), to first order in dt."""
    c = torch.tensor([[0.1], [0.5], [0.9], [-0.3]], dtype=torch.float64)
    y = AllenCahn(8)(c.expand(-1, 64))
    expected = c.sign() * (1 + (1 / c**2 - 1) * math.exp(-2 * STEP * STEPS)) ** -0.5
    torch.testing.assert_close(y, expected.expand(-1, 64), rtol=0, atol=1e-4)
    assert (y.std(1) < 1e-13).all()


@pytest.mark.parametrize("phase", [-1.0, 0.0, 1.0])
def test_pure_phases_rest(phase: float) -> None:
    x = torch.full((1, PROBLEM.n), phase, dtype=torch.float64)
    torch.testing.assert_close(PROBLEM.forward(x), x, rtol=0, atol=1e-12)


def test_faint_waves_grow_as_linear_theory_says() -> None:
    """About u = 0 mode k grows by (1 + dt) / (1 + dt epsilon^2 k^2) a step."""
    t = 2 * math.pi * torch.arange(SIDE, dtype=torch.float64) / SIDE
    wave = torch.cos(3 * t)[:, None] * torch.sin(2 * t)
    k2 = (2 * math.pi) ** 2 * (3**2 + 2**2)
    growth = ((1 + STEP) / (1 + STEP * EPSILON**2 * k2)) ** STEPS
    x = 1e-5 * wave.reshape(1, -1)
    torch.testing.assert_close(PROBLEM.forward(x), growth * x, rtol=0, atol=1e-13)


MOVES: list[Callable[[Tensor], Tensor]] = [
    lambda u: u.roll((5, -7), (1, 2)),
    lambda u: u.flip(2),
    lambda u: u.transpose(1, 2),
    lambda u: -u,
]


@pytest.mark.parametrize("move", MOVES, ids=["shift", "flip", "transpose", "swap of phases"])
def test_moving_the_field_moves_the_data(move: Callable[[Tensor], Tensor]) -> None:
    x = draw(2).reshape(-1, SIDE, SIDE)
    y = PROBLEM.forward(x.flatten(1)).reshape(-1, SIDE, SIDE)
    moved = PROBLEM.forward(move(x).flatten(1)).reshape(-1, SIDE, SIDE)
    torch.testing.assert_close(moved, move(y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [6, 7, 32])
def test_the_basis_is_orthonormal(side: int) -> None:
    Q, k = real_fourier(side)
    torch.testing.assert_close(Q @ Q.T, torch.eye(side, dtype=torch.float64), rtol=0, atol=1e-13)
    expected = np.sort(np.abs(2 * np.pi * np.fft.fftfreq(side, 1 / side)))
    np.testing.assert_allclose(np.sort(k.numpy()), expected)


def test_stays_bounded_and_the_clip_cuts_little() -> None:
    """The scheme's overshoot beside sharp edges, which the sensor cuts: rare, and small next to the phases."""
    x = draw(30)
    y = PROBLEM.forward(x)
    assert y.abs().max() == 1
    assert (y.abs() == 1).double().mean() < 0.04


def test_disks_are_as_published() -> None:
    field = disks(64, 600, Generator().manual_seed(0))
    assert set(field.unique().tolist()) == {-1.0, 1.0}
    covered = (field > 0).double().mean((1, 2))
    least, most = (math.pi * radius**2 for radius in DISK_RADIUS)
    assert covered.min() > 0.8 * 2 * least * 0.5, "two small disks, overlapping at most"
    assert covered.max() < 5 * most
    mean_area = math.pi * (DISK_RADIUS[1] ** 3 - DISK_RADIUS[0] ** 3) / (3 * (DISK_RADIUS[1] - DISK_RADIUS[0]))
    assert 0.8 * 3.5 * mean_area < covered.mean() < 3.5 * mean_area, "3.5 disks on average, less what overlaps"
    assert (field[:, :, 0] < 0).double().mean() > 0.99, "hardly any disk reaches the border"


def test_samples_are_rough_disks() -> None:
    x = draw(200)
    assert PROBLEM.constraint.contains(x, 0.0).all()
    background = x[x < 0]
    assert (background == -1).double().mean().item() == pytest.approx(0.5, abs=0.01)
    raised = background[background > -1] + 1
    assert raised.square().mean().sqrt().item() == pytest.approx(ROUGHNESS, rel=0.03)
    assert torch.equal(draw(seed=3), draw(seed=3))
