"""The camera against SciPy's convolution, and the laws that its adjoint, borders and sensor keep."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import convolve
from torch import Generator, Tensor
from torch.func import vjp

from physics.blur import BORDERS, FACTORS, Blur, Border, Sensor, gaussian_noise, periodic_kernel, sqrt_noise
from physics.correlation import correlated, directly, through_fourier
from physics.kernels import disk, framed, gaussian, motion, tidy

SCIPY_MODES = {"zero": "constant", "reflect": "mirror", "periodic": "wrap"}
KERNELS = {
    "gaussian": gaussian(1.3),
    "motion": motion(7, 35),
    "disk": disk(2.4),
    "row": torch.tensor([[0.1, 0.2, 0.7]]),
}


def skewed(rows: int, columns: int, generator: Generator) -> Tensor:
    """A kernel without any symmetry."""
    return tidy(torch.rand(rows, columns, generator=generator))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", KERNELS)
def test_is_scipys_convolution(border: Border, name: str) -> None:
    x = torch.rand(2, 3, 17, 12, dtype=torch.float64)
    y = Blur(KERNELS[name], border).forward(x)
    expected = [
        [convolve(c, KERNELS[name].double().numpy(), mode=SCIPY_MODES[border]) for c in image] for image in x.numpy()
    ]
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (71, 90)])
@pytest.mark.parametrize("sides", [(9, 9), (1, 65), (63, 3)])
def test_both_ways_to_correlate_agree(size: tuple[int, int], sides: tuple[int, int]) -> None:
    """In values, and in the derivative that LM asks for; one kernel for all images, and one for each."""
    generator = Generator().manual_seed(0)
    kernels = torch.stack([skewed(*sides, generator) for _ in range(2)]).double()
    x = torch.rand(2, 3, size[0] + 2, size[1] + 2, generator=generator, dtype=torch.float64)
    for kernel in (kernels[0], kernels):
        expected = directly(x, kernel)
        torch.testing.assert_close(through_fourier(x, kernel), expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(correlated(x.float(), kernel), expected.float(), rtol=0, atol=1e-6)
        r = torch.rand_like(expected)
        (own,), (other,) = (vjp(lambda u, run=run, k=kernel: run(u, k), x)[1](r) for run in (through_fourier, directly))
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


def test_a_kernel_without_symmetry_is_convolved_not_correlated() -> None:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1.0
    kernel = tidy(torch.arange(1.0, 10.0).reshape(3, 3))
    torch.testing.assert_close(Blur(kernel, "zero").forward(x)[0, 0, 1:4, 1:4], kernel)


@given(
    border=st.sampled_from(BORDERS),
    factor=st.sampled_from(FACTORS),
    small=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    sides=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    each=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_adjoint_passes_the_dot_test(
    border: Border, factor: int, small: tuple[int, int], sides: tuple[int, int], each: bool, seed: int
) -> None:
    """<A x, r> = <x, A^T r>, also for kernels larger than the image and for one kernel per image."""
    generator = Generator().manual_seed(seed)
    kernel = torch.stack([skewed(*sides, generator) for _ in range(2)]) if each else skewed(*sides, generator)
    camera = Blur(kernel, border, factor)
    x = torch.randn(2, 3, *camera.size_of_x(*small), generator=generator, dtype=torch.float64)
    r = torch.randn(2, 3, *small, generator=generator, dtype=torch.float64)
    left, right = (camera.linear(x) * r).sum(), (x * camera.adjoint(r)).sum()
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sensor", ["identity", "sigmoid"])
@pytest.mark.parametrize("factor", FACTORS)
def test_pulled_is_the_transposed_derivative(sensor: Sensor, factor: int) -> None:
    camera = Blur(motion(5, 20), "reflect", factor, sensor)
    x, r = torch.rand(2, 1, 16, 12, dtype=torch.float64), torch.randn(2, 1, 16 // factor, 12 // factor).double()
    expected = vjp(camera.forward, x)[1](r)[0]
    torch.testing.assert_close(camera.pulled(x, r), expected, rtol=0, atol=1e-12)


def test_one_kernel_per_image_is_each_image_alone() -> None:
    kernels = [framed(k, 15) for k in (gaussian(0.7), motion(9, 60), disk(3.0))]
    x = torch.rand(3, 2, 20, 24)
    together = Blur(torch.stack(kernels)).forward(x)
    alone = torch.cat([Blur(kernel).forward(x[i : i + 1]) for i, kernel in enumerate(kernels)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("border", ["reflect", "periodic"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (40, 33)])
def test_a_constant_image_stays_constant(border: Border, size: tuple[int, int]) -> None:
    """Of any size, down to one pixel, under a kernel that is larger."""
    y = Blur(gaussian(3.0), border).forward(torch.full((1, 1, *size), 0.4))
    torch.testing.assert_close(y, torch.full((1, 1, *size), 0.4), rtol=0, atol=1e-6)


def test_downsampling_is_the_mean_and_needs_whole_blocks() -> None:
    x = torch.rand(1, 1, 8, 4)
    y = Blur(torch.ones(1, 1), factor=4).forward(x)
    torch.testing.assert_close(y, torch.stack([x[..., :4, :].mean(), x[..., 4:, :].mean()]).reshape(1, 1, 2, 1))
    with pytest.raises(ValueError, match="not a multiple of the factor 4"):
        Blur(torch.ones(1, 1), factor=4).forward(torch.rand(1, 1, 6, 4))


def test_the_sensor_comes_before_downsampling() -> None:
    x = torch.rand(1, 1, 4, 4)
    sensed = torch.sigmoid(1.2 * (x - 0.5))
    y = Blur(torch.ones(1, 1), factor=2, sensor="sigmoid").forward(x)
    torch.testing.assert_close(y, torch.nn.functional.avg_pool2d(sensed, 2))


def test_transfer_divides_out_a_periodic_blur() -> None:
    camera = Blur(gaussian(0.6), "periodic")
    x = torch.rand(1, 1, 9, 14, dtype=torch.float64)
    spectrum = torch.fft.rfft2(camera.forward(x)) / camera.transfer(9, 14)
    torch.testing.assert_close(torch.fft.irfft2(spectrum, s=(9, 14)), x, rtol=0, atol=1e-5)


def test_a_periodic_kernel_wraps_and_keeps_its_sum() -> None:
    torch.testing.assert_close(periodic_kernel(gaussian(2.0), 3, 4).sum(), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": torch.ones(2, 3)}, "odd sides"),
        ({"kernel": torch.ones(3)}, "odd sides"),
        ({"kernel": torch.ones(3, 3), "factor": 3}, "factor must be one of 1, 2, 4"),
        ({"kernel": torch.ones(3, 3), "border": "mirror"}, "border must be one of"),
        ({"kernel": torch.ones(3, 3), "sensor": "film"}, "sensor must be"),
    ],
)
def test_refuses_what_it_is_not(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Blur(**arguments)


def test_noise_has_the_stated_size_and_comes_from_the_generator() -> None:
    y = torch.full((1, 1, 200, 200), 0.25)
    assert abs((gaussian_noise(y, 0.02, Generator().manual_seed(1)) - y).std() - 0.02) < 5e-4
    noisy = sqrt_noise(y, Generator().manual_seed(1))
    assert abs((noisy - y).std() - 0.03 * 0.5) < 5e-4
    torch.testing.assert_close(noisy, sqrt_noise(y, Generator().manual_seed(1)))
