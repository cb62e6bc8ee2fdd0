"""Heat-3D against SciPy's sine transform and convolution, its own linear limit, and its prior."""

import numpy as np
import pytest
import torch
from scipy.fft import dstn, idstn
from scipy.ndimage import convolve
from torch import Generator, Tensor

from physics.heat1d_nonlinear import interior, sines
from physics.heat3d import (
    BLUR,
    CUBIC,
    DIFFUSIVITY,
    DURATION,
    MODES,
    PROBLEM,
    SINE,
    SINE_RATE,
    SPOT_HEIGHT,
    smooth_fields,
    warm_spots,
)

SIDE = 8


def draw(count: int = 10, seed: int = 0) -> Tensor:
    return PROBLEM.sample(count, Generator().manual_seed(seed))


def reading(x: np.ndarray) -> np.ndarray:
    """The published definition of one item, written with a sine transform and a 3 x 3 x 3 kernel."""
    k = (np.pi * np.arange(1, SIDE + 1)) ** 2
    decay = np.exp(-DIFFUSIVITY * DURATION * (k[:, None, None] + k[:, None] + k))
    u = idstn(dstn(x.reshape(SIDE, SIDE, SIDE), type=1) * decay, type=1)
    kernel = np.zeros((3, 3, 3))
    kernel[1, 1, 1] = 8.0
    for axis in range(3):
        for end in (0, 2):
            at = [1, 1, 1]
            at[axis] = end
            kernel[tuple(at)] = 1.0
    z = (1 - BLUR) * u + BLUR * convolve(u, kernel / kernel.sum(), mode="constant")
    return np.asarray(z + CUBIC * z**3 + SINE * np.sin(SINE_RATE * z)).ravel()


def test_is_the_published_definition() -> None:
    x = draw()
    expected = np.stack([reading(row) for row in x.numpy()])
    np.testing.assert_allclose(PROBLEM.forward(x).numpy(), expected, rtol=0, atol=1e-13)


def test_small_fields_see_the_linear_limit() -> None:
    """y = z (1 + 2 * .008) + O(z^3)."""
    x = 1e-4 * draw()
    linear = (1.0 + SINE * SINE_RATE) * x @ PROBLEM.forward.matrix.T  # type: ignore[attr-defined]
    torch.testing.assert_close(PROBLEM.forward(x), linear, rtol=0, atol=1e-12)


def test_axes_are_in_order() -> None:
    """A field that varies along the last axis only gives readings that vary as its one-dimensional cousin's do."""
    profile = torch.sin(np.pi * interior(SIDE))
    field = profile[:, None, None] * profile[:, None] * torch.sin(2 * np.pi * interior(SIDE))
    y = PROBLEM.forward(field.reshape(1, -1)).reshape(SIDE, SIDE, SIDE)
    torch.testing.assert_close(y, y.transpose(0, 1))
    torch.testing.assert_close(y, -y.flip(2))


def test_every_direction_stands_out_of_the_noise() -> None:
    """Why this problem is well-posed: the weakest direction of a unit field still reads 60 times the noise."""
    J = torch.func.jacrev(lambda row: PROBLEM.forward(row[None])[0])(draw(1)[0])
    assert torch.linalg.svdvals(J)[-1] > 60 * PROBLEM.noise_std


def test_samples_fill_zero_to_one() -> None:
    x = draw(500)
    assert x.shape == (500, SIDE**3)
    assert (x.amin(1) == 0).all()
    assert (x.amax(1) == 1).all()
    assert torch.equal(draw(seed=3), draw(seed=3))


def test_smooth_fields_are_27_falling_modes() -> None:
    fields = smooth_fields(SIDE, 4000, Generator().manual_seed(0)).reshape(-1, SIDE, SIDE, SIDE)
    S = sines(SIDE, SIDE)
    spread = torch.einsum("bxyz,ix,jy,kz->bijk", fields, S, S, S).std(0)
    k = torch.arange(1, MODES + 1, dtype=torch.float64)
    torch.testing.assert_close(
        spread[:MODES, :MODES, :MODES], 1.0 / (k[:, None, None] * k[:, None] * k), rtol=0.06, atol=0
    )
    assert spread[MODES:].max() < 1e-12


def test_warm_spots_are_faint_and_inside() -> None:
    spots = warm_spots(SIDE, 2000, Generator().manual_seed(0)).reshape(-1, SIDE, SIDE, SIDE)
    height = spots.amax((1, 2, 3))
    assert height.max() < SPOT_HEIGHT[1]
    assert height.mean().item() == pytest.approx(0.05, abs=0.01)
    where = interior(SIDE)
    for dims in ((2, 3), (1, 3), (1, 2)):
        line = spots.sum(dims)
        centre = (line * where).sum(1) / line.sum(1)
        assert ((centre > 0.27) & (centre < 0.73)).all()
        assert centre.mean().item() == pytest.approx(0.5, abs=0.02)
