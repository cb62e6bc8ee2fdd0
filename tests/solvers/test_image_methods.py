"""The classical deblurring methods: sharper than what they are given, whatever kernel, border, factor and size."""

import pytest
import torch
from torch import Tensor

from physics.blur import BORDERS, Blur, Border, gaussian_noise
from physics.kernels import disk, gaussian, motion
from solvers.image_plans import IMAGE_METHODS, run_iterative
from solvers.images import richardson_lucy, start_image, wiener
from solvers.solve import Rules, Status
from tests.scenes import scene

NOISE = 0.005
KERNELS = {"gaussian": gaussian(1.6), "disk": disk(2.5), "motion": motion(7, 30)}
METHODS = ("wiener", "richardson_lucy", *IMAGE_METHODS)


def restored(method: str, y: Tensor, blur: Blur) -> Tensor:
    if method in IMAGE_METHODS:
        return run_iterative(y, blur, NOISE, method).x
    return (wiener if method == "wiener" else richardson_lucy)(y, blur, NOISE)


def observe(blur: Blur, channels: int = 1) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(scene(64, 72, channels))[None]
    return x, gaussian_noise(blur.forward(x), NOISE, torch.Generator().manual_seed(1))


def rms(a: Tensor, b: Tensor, crop: int = 0) -> float:
    inner = (a - b)[..., crop : a.shape[-2] - crop, crop : a.shape[-1] - crop]
    return float(inner.square().mean().sqrt())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("method", METHODS)
def test_comes_closer_to_the_truth(method: str, kernel: str) -> None:
    blur = Blur(KERNELS[kernel])
    x, y = observe(blur)
    found = restored(method, y, blur)
    assert found.shape == x.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert rms(found, x) < 0.8 * rms(y, x)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("method", METHODS)
def test_every_border_and_factor(method: str, border: Border, factor: int) -> None:
    blur = Blur(gaussian(1.6), border, factor)
    x, y = observe(blur, channels=3)
    found = restored(method, y, blur)
    assert found.shape == x.shape
    # Beside the border what lies beyond decides: judged inside.
    assert rms(found, x, 10) < rms(start_image(y, blur), x, 10)


@pytest.mark.parametrize("method", METHODS)
def test_images_of_a_batch_are_alone(method: str) -> None:
    kernels = torch.stack([gaussian(1.2, 9), gaussian(1.8, 9)])
    x, both = observe(Blur(kernels[0]))
    y = torch.cat([both, gaussian_noise(Blur(kernels[1]).forward(x), NOISE, torch.Generator().manual_seed(2))])
    together = restored(method, y, Blur(kernels))
    for i in range(2):
        torch.testing.assert_close(
            together[i : i + 1], restored(method, y[i : i + 1], Blur(kernels[i])), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 3), (7, 31)])
def test_any_size(method: str, size: tuple[int, int]) -> None:
    y = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    found = restored(method, y, Blur(torch.ones(1, 3) / 3 if size[1] >= 3 else torch.ones(1, 1)))
    assert found.shape == y.shape
    assert found.isfinite().all()


def test_iterations_and_how_it_ended() -> None:
    blur = Blur(gaussian(1.6))
    _, y = observe(blur)
    found = run_iterative(y, blur, NOISE, "lbfgs")
    assert found.status == [Status.CONVERGED]
    assert 0 < found.iterations[0] < 50
    assert found.residual_rms[0] == pytest.approx(rms(blur.forward(found.x), y), rel=1e-4)
    assert found.residual_rms[0] < 1.1 * NOISE
    capped = run_iterative(y, blur, NOISE, "gd", Rules(tolerance=0.1, max_iterations=3))
    assert (capped.status, capped.iterations) == ([Status.MAX_ITERATIONS], [3])


def test_richardson_lucy_keeps_the_light_and_counts() -> None:
    blur = Blur(gaussian(1.6), "periodic")
    _, y = observe(blur)
    once, often = (richardson_lucy(y, blur, NOISE, n) for n in (1, 30))
    assert float(often.mean()) == pytest.approx(float(y.mean()), rel=1e-3)
    assert rms(blur.forward(often), y) < rms(blur.forward(once), y)


def test_wiener_s_balance_smooths() -> None:
    blur = Blur(gaussian(1.6))
    _, y = observe(blur)
    rough, smooth = (wiener(y, blur, NOISE, balance) for balance in (2.0, 2e4))
    assert rough.diff(dim=-1).abs().mean() > 1.2 * smooth.diff(dim=-1).abs().mean()


def test_progress_counts_images() -> None:
    blur, seen = Blur(gaussian(1.0)), list[tuple[int, int]]()
    _, y = observe(blur)
    run_iterative(y.repeat(2, 1, 1, 1), blur, NOISE, "gd", progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]
