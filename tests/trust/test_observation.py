"""Scores of observations, residuals and answers by themselves, against their formulas."""

import numpy as np
import pytest
import torch
from scipy.fft import dct

from trust.moments import Observed, Spread
from trust.observation import SMOOTH_MODES, STILLEST, offset_and_tilts, smooth_modes, stillness, trend

M = 5


def test_mahalanobis_is_the_textbooks() -> None:
    y = torch.randn(500, M, dtype=torch.float64) @ torch.randn(M, M, dtype=torch.float64) + 3.0
    new = torch.randn(7, M, dtype=torch.float64)
    d = (new - y.mean(0)).numpy()
    expected = np.einsum("bi,ij,bj->b", d, np.linalg.inv(np.cov(y.numpy().T)), d)
    np.testing.assert_allclose(Observed.of(y).whitened(new).square().sum(1).numpy(), expected, rtol=1e-6)
    assert Observed.of(y).whitened(y).square().sum(1).mean().item() == pytest.approx(M, rel=0.01)


@pytest.mark.parametrize("grid", [(M,), (3, 4), (2, 1, 3)])
def test_the_baseline_is_what_the_best_offset_and_tilt_would_explain(grid: tuple[int, ...]) -> None:
    """distance(y) - min over a of distance(y - a . faults), the minimum found by least squares."""
    m = int(np.prod(grid))
    faults = offset_and_tilts(grid)
    assert len(faults) == 1 + sum(size > 1 for size in grid)
    observed = Observed.of(torch.randn(500, m, dtype=torch.float64) @ torch.randn(m, m, dtype=torch.float64))
    y = torch.randn(6, m, dtype=torch.float64) + 3.0
    explained = (observed.whitened(y) @ observed.basis(faults)).square().sum(1)
    best = torch.linalg.lstsq((observed.whitener @ faults.T).expand(6, -1, -1), observed.whitened(y)[:, :, None])
    without = observed.whitened(y - best.solution[:, :, 0] @ faults).square().sum(1)
    torch.testing.assert_close(explained, observed.whitened(y).square().sum(1) - without)


def test_moments_of_constant_values_do_not_break_it() -> None:
    """A pinned end has no variance but its noise, or none at all."""
    y = torch.randn(100, 3, dtype=torch.float64)
    y[:, 0] = 2.0
    assert Observed.of(y).whitened(y).square().sum(1).isfinite().all()
    spread = Spread.of(y, y)
    assert spread.size(y).mean().item() == pytest.approx(1.0)
    torch.testing.assert_close(spread.size(y + torch.tensor([5.0, 0.0, 0.0])), spread.size(y))


def test_oddness_is_of_answers_too_far_out_and_too_plain() -> None:
    truths = torch.randn(4000, 8, dtype=torch.float64) * torch.arange(1.0, 9.0) + 3.0
    spread = Spread.of(truths, 3.0 + 0.5 * (truths - 3.0))  # reconstructions vary half as much
    usual, far, plain = (spread.oddness(3.0 + factor * (truths[:500] - 3.0)).median() for factor in (0.5, 1.5, 0.1))
    assert usual < 0.2
    assert far > 3.0
    assert plain > 1.5


def test_the_slowest_modes_of_a_line_are_cosines() -> None:
    modes = smooth_modes((64,))
    torch.testing.assert_close(modes @ modes.T, torch.eye(SMOOTH_MODES, dtype=torch.float64))
    residual = torch.randn(6, 64, dtype=torch.float64)
    slow = dct(residual.numpy(), norm="ortho")[:, :SMOOTH_MODES]
    np.testing.assert_allclose(trend(residual, (64,)).numpy(), np.sqrt((slow**2).mean(1)))


@pytest.mark.parametrize("grid", [(3,), (32, 32), (8, 8, 8), (2, 2)])
def test_modes_are_orthonormal_on_every_grid_and_the_first_is_constant(grid: tuple[int, ...]) -> None:
    modes = smooth_modes(grid)
    torch.testing.assert_close(modes @ modes.T, torch.eye(len(modes), dtype=torch.float64))
    assert len(modes) == min(SMOOTH_MODES, modes.shape[1])
    torch.testing.assert_close(modes[0], modes[0, :1].expand_as(modes[0]))


def test_noise_has_no_trend_and_an_offset_has() -> None:
    noise = torch.randn(4000, 64, dtype=torch.float64)
    assert trend(noise, (64,)).square().mean().item() == pytest.approx(1.0, abs=0.03)
    assert (trend(noise + 2.0, (64,)) > 3.0).all()


def test_stillness_sees_the_stillest_stretch() -> None:
    noise_std = 0.02
    y = torch.linspace(0.0, 5.0, 64, dtype=torch.float64).sin() + noise_std * torch.randn(300, 64, dtype=torch.float64)
    stuck = y.clone()
    stuck[:, 20:36] = stuck[:, 20:21]
    assert stillness(y, noise_std).max() < 5.0
    torch.testing.assert_close(stillness(stuck, noise_std), torch.full((300,), 1.0 / STILLEST).double())
    expected = (y.diff(dim=1).square() / (2 * noise_std**2)).unfold(1, 8, 1).mean(2).amin(1)
    torch.testing.assert_close(stillness(y, noise_std), (expected + STILLEST**2).rsqrt())


@pytest.mark.parametrize("m", [1, 2, 7, 9])
def test_few_sensors_are_no_trouble(m: int) -> None:
    y = torch.randn(3, m)
    assert stillness(y, 1.0).isfinite().all()
    assert trend(y, (m,)).isfinite().all()
