"""The deblurring benchmark's material: kernels, crops and metrics."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Generator

from benchmarks.deblur_cases import MARGIN, cameras, cases, psnr, ssim
from physics.blur import Blur
from training.photographs import Use


def test_kernels_do_not_move_the_image() -> None:
    """By less than half a pixel, or sharp and blurred would be compared side by side."""
    for camera in cameras():
        for kernel in (camera.kernel, camera.told):
            assert kernel.sum().item() == pytest.approx(1.0, abs=1e-5)
            for axis in (0, 1):
                at = torch.arange(kernel.shape[axis]) - kernel.shape[axis] // 2
                assert (kernel.sum(1 - axis) * at).sum().abs() < 0.6


def test_a_case_is_the_photograph_blurred_beyond_its_crop() -> None:
    found = cases(Use.VALIDATION, seeds=2, side=96, scenes_at_most=1)
    assert len(found) == 2 * len(cameras())
    first, again = found[:2]
    assert first.x.shape == first.y.shape == (1, 1, 96, 96)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.y, again.y)
    error = (first.y - Blur(first.camera.kernel).forward(first.x)).abs()
    assert error[..., MARGIN:-MARGIN, MARGIN:-MARGIN].std() < 0.013


def test_ssim_is_scikit_images() -> None:
    x = torch.rand(1, 1, 80, 90, generator=Generator().manual_seed(0))
    y = (x + 0.1 * torch.randn(x.shape, generator=Generator().manual_seed(1))).clamp(0, 1)
    a, b = (image[0, 0, MARGIN:-MARGIN, MARGIN:-MARGIN].double().numpy() for image in (x, y))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, whole = structural_similarity(a, b, full=True, **options)
    assert ssim(x, y) == pytest.approx(float(np.mean(whole[5:-5, 5:-5])), abs=1e-3)


def test_psnr_leaves_the_border_out() -> None:
    x = torch.zeros(1, 1, 64, 64)
    y = x + 0.1
    y[..., 0, :] = 1.0
    assert psnr(y, x) == pytest.approx(20.0)
