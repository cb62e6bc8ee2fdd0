"""The linear estimate against the matrix formula, and what its borders and factors do."""

import pytest
import torch
from torch import Generator

from physics.blur import BORDERS, FACTORS, Blur, Border, gaussian_noise
from physics.kernels import disk, framed, gaussian, motion
from physics.wiener import FLATNESS, SLOPE_VARIANCE, Wiener, wiener_start

NOISE = torch.tensor([0.02])


@pytest.mark.parametrize("factor", FACTORS)
def test_is_the_matrix_formula_on_a_periodic_grid(factor: int) -> None:
    """P A^T (A P A^T + s^2)^-1 y, with P and A written out as matrices."""
    h, w = 4, 6
    camera = Blur(motion(3, 30), "periodic", factor)
    H, W = camera.size_of_x(h, w)
    eye = torch.eye(H * W, dtype=torch.float64).reshape(-1, 1, H, W)
    A = camera.linear(eye).flatten(1).T
    laplacian = 4 * eye - sum(eye.roll(step, axis) for axis in (-2, -1) for step in (-1, 1))
    P = SLOPE_VARIANCE * torch.linalg.inv(laplacian.flatten(1) + FLATNESS * torch.eye(H * W, dtype=torch.float64))
    y = torch.rand(1, 1, h, w, dtype=torch.float64)
    expected = P @ A.T @ torch.linalg.solve(A @ P @ A.T + 0.02**2 * torch.eye(h * w).double(), y.flatten())
    x = Wiener.of(camera, NOISE.double(), h, w)(y)
    torch.testing.assert_close(x.flatten(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("factor", FACTORS)
def test_sharpens_up_to_the_border(border: Border, factor: int) -> None:
    """Nearer to the truth than the observation is, in the middle and along the edge; the sizes are odd."""
    camera = Blur(gaussian(1.5 * factor), border, factor)
    H, W = camera.size_of_x(37, 29)
    y_axis, x_axis = torch.arange(H)[:, None], torch.arange(W)
    x = (0.5 + 0.4 * torch.sign(torch.sin(y_axis / (4 * factor)) * torch.sin(x_axis / (5 * factor))))[None, None]
    y = gaussian_noise(camera.forward(x), 0.005, Generator().manual_seed(0))
    start = wiener_start(y, Wiener.of(camera, torch.tensor([0.005]), 37, 29))
    seen = torch.nn.functional.interpolate(y, scale_factor=float(factor))
    edge = torch.ones(H, W, dtype=torch.bool)
    edge[8 * factor : -8 * factor, 8 * factor : -8 * factor] = False
    for where in (edge, ~edge):
        before, after = ((image - x)[0, 0][where].square().mean() for image in (seen, start))
        assert after < 0.9 * before


def test_a_constant_stays_a_constant() -> None:
    y = torch.full((1, 1, 20, 31), 0.7)
    start = wiener_start(y, Wiener.of(Blur(disk(4.0)), NOISE, 20, 31))
    torch.testing.assert_close(start, y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2)])
def test_images_smaller_than_the_kernel_are_finite(size: tuple[int, int]) -> None:
    for border in BORDERS:
        linear = Wiener.of(Blur(gaussian(3.0), border), NOISE, *size)
        assert wiener_start(torch.rand(1, 1, *size), linear).isfinite().all()


def test_each_row_has_its_own_kernel_and_noise() -> None:
    kernels = [framed(k, 13) for k in (gaussian(1.0), motion(8, 70))]
    noise = torch.tensor([0.01, 0.03])
    y = torch.rand(2, 1, 24, 24)
    together = Wiener.of(Blur(torch.stack(kernels), "reflect", 2), noise, 24, 24)(y)
    for i, kernel in enumerate(kernels):
        alone = Wiener.of(Blur(kernel, "reflect", 2), noise[i : i + 1], 24, 24)(y[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)
