"""Kernels: sizes, sums, symmetries, and what is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from physics.kernels import disk, framed, gaussian, motion, tidy

KERNELS = [gaussian(0.0), gaussian(1.3), gaussian(1.3, 11), disk(0.4), disk(3.7), motion(0.0, 0), motion(14.5, 77)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_is_odd_nonnegative_and_of_sum_one(kernel: Tensor) -> None:
    assert all(side % 2 for side in kernel.shape)
    assert kernel.min() >= 0.0
    assert kernel.sum().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_its_middle_is_its_centre_of_mass(kernel: Tensor) -> None:
    """A kernel off its middle would move the image."""
    for axis in (0, 1):
        at = torch.arange(kernel.shape[axis]) - kernel.shape[axis] // 2
        assert (kernel.sum(1 - axis) * at).sum().abs() < 1e-5


def test_gaussian_has_the_stated_spread() -> None:
    kernel = gaussian(2.0, 25)
    at = torch.arange(-12, 13)
    assert (kernel.sum(0) * at.square()).sum().sqrt().item() == pytest.approx(2.0, abs=1e-3)
    assert gaussian(0.0).max().item() == 1.0


def test_disk_has_the_stated_area() -> None:
    assert 1.0 / disk(5.0).max().item() == pytest.approx(math.pi * 25, rel=0.02)


def test_motion_runs_counter_clockwise() -> None:
    """Rows point down, so 45 degrees rises to the right."""
    kernel = motion(8, 45)
    assert kernel.fliplr().diagonal().sum() > 0.6
    assert kernel.diagonal().sum() < 0.2
    torch.testing.assert_close(motion(6, 90), motion(6, 0).T)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(1e-30, 1e30))
def test_tidy_makes_sides_odd_and_the_sum_one(rows: int, columns: int, scale: float) -> None:
    kernel = tidy(torch.rand(rows, columns, dtype=torch.float64) * scale + 1e-3 * scale)
    assert kernel.shape == (rows + 1 - rows % 2, columns + 1 - columns % 2)  # the rim is not empty
    assert kernel.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (torch.zeros(3, 3), "sum to zero"),
        (torch.tensor([[1.0, -0.5, 1.0]]), "negative"),
        (torch.tensor([[1.0, math.nan]]), "finite"),
        (torch.tensor([[math.inf]]), "finite"),
        (torch.ones(3), "matrix"),
        (torch.ones(0, 3), "matrix"),
        (-torch.ones(3, 3), "negative"),
    ],
)
def test_tidy_refuses(kernel: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tidy(kernel)


def test_rounding_below_zero_and_an_empty_rim_are_cut_off() -> None:
    assert tidy(torch.tensor([[-1e-5, 1.0, -1e-5]])).tolist() == [[1.0]]
    assert tidy(torch.eye(7)[2:5, :] * torch.tensor([0, 0, 1, 1, 0, 0, 0])).shape == (3, 3)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_shapes_refuse_impossible_sizes(bad: float) -> None:
    for make in (gaussian, disk, lambda length: motion(length, 0.0)):
        with pytest.raises(ValueError, match="must be"):
            make(bad)


def test_framed_puts_it_in_the_middle() -> None:
    assert framed(torch.ones(1, 3), 5).nonzero().tolist() == [[2, 1], [2, 2], [2, 3]]
    with pytest.raises(ValueError, match="does not fit"):
        framed(torch.ones(7, 1), 5)
