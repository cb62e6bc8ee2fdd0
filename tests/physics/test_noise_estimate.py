"""The estimate of the noise: close where there is noise, unmoved by the scene, sane where there is hardly an image."""

import numpy as np
import pytest
import torch
from scipy.special import chdtri

from physics.blur import Blur
from physics.kernels import gaussian
from physics.noise_estimate import estimate_noise_std, noise_level
from tests.scenes import scene


def blurred(noise_std: float, sigma: float = 1.5) -> np.ndarray:
    image = Blur(gaussian(sigma)).forward(torch.from_numpy(scene(160, 200))[None])[0, 0].numpy()
    return image + np.random.default_rng(0).normal(0, noise_std, image.shape)


@pytest.mark.parametrize("noise_std", [0.003, 0.01, 0.03, 0.1])
def test_finds_the_noise_of_a_blurred_scene(noise_std: float) -> None:
    assert estimate_noise_std(blurred(noise_std)) == pytest.approx(noise_std, rel=0.15)


def test_rounding_to_8_bits_is_noise_too() -> None:
    found = estimate_noise_std(np.rint(255 * blurred(0.0)) / 255)
    assert 1e-4 <= found <= 1 / 255


def test_saturated_pixels_are_left_out() -> None:
    image = np.clip(blurred(0.02) + 0.65, 0, 1)
    assert (image == 1).mean() > 0.1
    assert estimate_noise_std(image) == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("image", [np.zeros((1, 1)), np.ones((1, 9)), np.full((2, 2), 0.5), np.zeros((40, 40))])
def test_never_zero(image: np.ndarray) -> None:
    assert 0 < estimate_noise_std(image) < 0.01


@pytest.mark.parametrize("m", [1, 2, 5, 64, 1000, 10**6])
def test_noise_level_is_the_chi_square_one(m: int) -> None:
    assert noise_level(m) == pytest.approx((chdtri(m, 0.001) / m) ** 0.5, rel=0.02)
