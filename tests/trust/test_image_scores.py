"""Scores of deblurred images: the linear network's RJCP is the floor, and each score sees what it is for."""

import pytest
import torch
from torch import Generator, Tensor

from models.deblurring import deblur
from models.deceptronnet import ImageNetwork, NetworkConfig, network_of
from physics.blur import Blur, gaussian_noise
from physics.kernels import gaussian
from physics.wiener import photograph_like
from trust.images import (
    IMAGE_SCORES,
    WINDOW,
    ImageCalibration,
    _windows,
    calibrate_images,
    composition_error,
    judge_image,
    judge_residual,
    statistics,
)

CAMERA, NOISE = Blur(gaussian(1.2)), 0.01
CHECKERBOARD = 1.0 - 2.0 * ((torch.arange(40)[:, None] + torch.arange(40)) % 2)


def picture(seed: int, side: int = 40) -> Tensor:
    field = photograph_like(torch.Size((1, 1, side, side)), Generator().manual_seed(seed))
    return (0.5 + 0.15 * field).clamp(0.05, 0.95)


def seen(x: Tensor, seed: int, camera: Blur = CAMERA, noise: float = NOISE) -> Tensor:
    return gaussian_noise(camera.forward(x), noise, Generator().manual_seed(1000 + seed))


@pytest.fixture(scope="module")
def untrained() -> ImageNetwork:
    """The linear estimate: what the network is before training."""
    return network_of(NetworkConfig("shipped", steps=1, widths=(4, 6), blocks=(0, 1), carried=0)).requires_grad_(False)


@pytest.fixture(scope="module")
def calibration(untrained: ImageNetwork) -> ImageCalibration:
    held_out = [(seen(picture(i), i), CAMERA, NOISE) for i in range(60)]
    return calibrate_images(untrained, [picture(500 + i) for i in range(60)], held_out)


def judged(network: ImageNetwork, calibration: ImageCalibration, y: Tensor, noise: float = NOISE) -> dict:
    x = deblur(network, y, CAMERA, noise)
    return judge_image(network, calibration, x, y, CAMERA, noise)[0]


def test_the_linear_estimate_has_the_floor_as_its_rjcp(untrained: ImageNetwork) -> None:
    x = picture(1)
    rjcp, floor = composition_error(untrained, x, seen(x, 1), CAMERA, NOISE)
    assert rjcp == pytest.approx(floor, rel=0.05)
    assert 0.0 < floor < 1.0


def test_the_floor_rises_with_the_blur(untrained: ImageNetwork) -> None:
    x = picture(2)
    floors = []
    for sigma in (0.6, 1.2, 3.0):
        camera = Blur(gaussian(sigma))
        floors.append(composition_error(untrained, x, seen(x, 2, camera), camera, NOISE)[1])
    assert floors == sorted(floors)


def test_known_pictures_are_in_range_as_often_as_promised(
    untrained: ImageNetwork, calibration: ImageCalibration
) -> None:
    p = [judged(untrained, calibration, seen(picture(100 + i), 100 + i))["p_value"] for i in range(40)]
    assert sum(value < 0.05 for value in p) <= 7


@pytest.mark.parametrize(
    ("score", "spoil"),
    [
        ("residual_to_noise", lambda y: gaussian_noise(y, 0.05, Generator().manual_seed(1))),
        ("residual_correlation", lambda y: y + 0.02 * CHECKERBOARD),
        ("statistics", lambda y: (y > 0.5).float()),
        ("statistics", lambda y: torch.full_like(y, 0.5)),
    ],
)
def test_each_score_sees_what_it_is_for(
    untrained: ImageNetwork, calibration: ImageCalibration, score: str, spoil: object
) -> None:
    y = spoil(seen(picture(3), 3))  # type: ignore[operator]
    x = deblur(untrained, y, CAMERA, NOISE)
    found = judge_image(untrained, calibration, x, y, CAMERA, NOISE)[0]
    known = calibration.scores[:, IMAGE_SCORES.index(score)]
    value = abs(torch.tensor(found[score]).log()) if score == "residual_to_noise" else abs(found[score])
    assert value > known.quantile(0.95)
    assert found["verdict"] != "in_range"
    assert bool(found["reasons"]) == (found["verdict"] != "in_range")


def test_a_judgement_does_not_depend_on_the_batch(untrained: ImageNetwork, calibration: ImageCalibration) -> None:
    y = torch.cat([seen(picture(i), i) for i in (4, 5)])
    x = deblur(untrained, y, CAMERA, NOISE)
    both = judge_image(untrained, calibration, x, y, CAMERA, NOISE)
    assert judge_image(untrained, calibration, x[1:], y[1:], CAMERA, NOISE)[0]["p_value"] == both[1]["p_value"]


def test_calibration_survives_its_tensors(calibration: ImageCalibration) -> None:
    again = ImageCalibration.from_tensors(calibration.tensors())
    assert again.quantiles() == calibration.quantiles()
    assert set(calibration.quantiles()) == set(IMAGE_SCORES)


def test_windows_match_their_observations() -> None:
    x = torch.rand(1, 1, 600, 404)
    camera = Blur(torch.ones(1, 1), factor=2)
    images, seen_ = _windows(x, camera.forward(x), 2)
    assert images.shape == (4, 1, WINDOW, WINDOW)
    torch.testing.assert_close(camera.forward(images), seen_)


def test_the_last_statistic_is_the_log_of_the_kurtosis() -> None:
    halves = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)], -1)
    star = torch.zeros(1, 1, 10, 10)
    star[..., 3, 4] = 1.0  # one pixel of a hundred: (1 - 3 p + 3 p^2) / (p (1 - p)), near 98
    assert statistics(halves)[5].exp().item() == pytest.approx(1.0, rel=0.01)
    assert statistics(star)[5].exp().item() == pytest.approx(98.0, rel=0.02)


def test_a_calibration_under_other_statistics_is_refused(calibration: ImageCalibration) -> None:
    tensors = calibration.tensors()
    assert torch.equal(ImageCalibration.from_tensors(tensors).whitener, calibration.whitener)
    with pytest.raises(KeyError, match="6 statistics"):
        ImageCalibration.from_tensors(tensors | {"mean": tensors["mean"][:5]})


def test_one_pixel_and_a_line_have_statistics() -> None:
    for shape in ((1, 1), (1, 9), (7, 1)):
        x = torch.rand(1, 1, *shape)
        assert statistics(x).isfinite().all()
        assert judge_residual(x, x, Blur(torch.ones(1, 1)), 0.01)[0]["residual_rms"] == 0.0
