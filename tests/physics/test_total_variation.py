"""Total variation keeps edges, and each image of a batch has its own kernel and noise."""

import pytest
import torch
from torch import Generator, Tensor

from physics.blur import Blur, gaussian_noise
from physics.kernels import framed, gaussian, motion
from physics.total_variation import total_variation
from physics.wiener import Wiener, wiener_start


def square() -> Tensor:
    x = torch.full((1, 1, 64, 64), 0.3)
    x[..., 20:44, 24:50] = 0.8
    return x


def test_it_keeps_edges_that_the_linear_estimate_blurs() -> None:
    x, camera, noise = square(), Blur(gaussian(1.5)), torch.tensor([0.01])
    y = gaussian_noise(camera.forward(x), 0.01, Generator().manual_seed(0))
    linear = Wiener.of(camera, noise, 64, 64)
    by_variation = (total_variation(y, linear, noise) - x).square().mean()
    assert by_variation < 0.5 * (wiener_start(y, linear) - x).square().mean()


def test_it_minimises_what_it_says() -> None:
    """On a periodic grid the objective at its answer is lower than at answers of other weights."""
    x, camera, noise = square(), Blur(motion(5, 30), "periodic"), torch.tensor([0.02])
    y = gaussian_noise(camera.forward(x), 0.02, Generator().manual_seed(0))
    linear = Wiener.of(camera, noise, 64, 64)

    def objective(u: Tensor) -> float:
        slopes = torch.hypot(u.roll(-1, -2) - u, u.roll(-1, -1) - u).sum()
        return float(0.5 * (camera.forward(u) - y).square().sum() + 0.1 * 0.02 * slopes)

    best = objective(total_variation(y, linear, noise, 0.1, 300))
    for other in (0.05, 0.08, 0.125, 0.2):
        assert best < objective(total_variation(y, linear, noise, other, 300))


def test_rows_do_not_see_each_other() -> None:
    kernels = torch.stack([framed(gaussian(1.0), 9), framed(motion(6, 80), 9)])
    y, noise = torch.rand(2, 1, 24, 30), torch.tensor([0.01, 0.03])
    together = total_variation(y, Wiener.of(Blur(kernels), noise, 24, 30), noise)
    alone = total_variation(y[1:], Wiener.of(Blur(kernels[1]), noise[1:], 24, 30), noise[1:])
    torch.testing.assert_close(together[1:], alone, rtol=0, atol=1e-5)


def test_a_smaller_observation_is_refused() -> None:
    linear = Wiener.of(Blur(gaussian(1.0), factor=2), torch.tensor([0.01]), 8, 8)
    with pytest.raises(ValueError, match="full resolution"):
        total_variation(torch.rand(1, 1, 8, 8), linear, torch.tensor([0.01]))
