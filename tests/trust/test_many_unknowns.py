"""Beyond 64 unknowns: scores by probes, error bars by draws, and a calibration that stays small on disk."""

import pytest
import torch
from torch import Generator

from models.deceptron import Deceptron, DeceptronConfig
from physics.heat1d import heat1d
from solvers.plans import rules_for
from trust.calibrate import calibrate
from trust.calibration import COLUMNS, WHOLE_UP_TO, Calibration
from trust.jacobians import PROBES, Inspected, Inspector
from trust.moments import Observed, Spread
from trust.ranks import Ranks
from trust.scores import SCORES
from trust.uncertainty import DRAWS, Prior, model_uncertainty

MANY = 2 * WHOLE_UP_TO


def moments(m: int) -> Observed:
    mix = torch.randn(m, m, dtype=torch.float64) / m**0.5
    return Observed.of(torch.randn(4 * m, m, dtype=torch.float64) @ mix)


def stored(observed: Observed) -> Calibration:
    one, none = torch.ones(1, dtype=torch.float64), torch.empty(0, 0)
    ranks = Ranks.of(torch.rand(100, len(SCORES)), COLUMNS)
    return Calibration(ranks, observed, Spread(one, one, one[0]), Prior(none, none), one)


@pytest.mark.parametrize("m", [1, WHOLE_UP_TO, WHOLE_UP_TO + 1, MANY])
def test_the_whitener_survives_storage(m: int) -> None:
    observed = moments(m)
    again = Calibration.from_tensors(stored(observed).tensors()).observed
    y = 3.0 * torch.randn(20, m, dtype=torch.float64)
    torch.testing.assert_close(
        again.whitened(y).square().sum(1), observed.whitened(y).square().sum(1), rtol=1e-5, atol=1e-6
    )
    assert m > WHOLE_UP_TO or torch.equal(again.whitener, observed.whitener)


def test_a_large_one_is_stored_in_a_quarter_of_its_size() -> None:
    kept = stored(moments(MANY)).tensors()["observed_whitener"]
    assert kept.dtype == torch.float32
    assert kept.element_size() * kept.numel() < 0.26 * 8 * MANY**2


def test_a_long_rod_is_calibrated_with_error_bars() -> None:
    n = WHOLE_UP_TO + 2
    problem = heat1d(n)
    torch.manual_seed(0)
    model = Deceptron(DeceptronConfig(n, n, "physics", "residual"), problem.forward).requires_grad_(False)
    x, clean = problem.simulate(400, Generator().manual_seed(0))
    y = problem.observe(clean, Generator().manual_seed(1))
    made = calibrate(problem, model, "product", rules_for("product", n), (x, y), (x[:100], y[:100]))
    assert made.prior.covariance.numel() == 0
    assert made.prior.draws.shape == (DRAWS, n)
    assert made.interval_factor.shape == (n,)
    assert made.scores.isfinite().all()
    again = Calibration.from_tensors(made.tensors())
    torch.testing.assert_close(again.p_values(made.scores)[1], made.p_values(made.scores)[1])


def gain(n: int, factor: torch.Tensor) -> Inspector:
    """f = diag(factor), g = I."""
    return Inspector(lambda x: x * factor, lambda y: 1.0 * y, torch.ones(n).double(), torch.ones(n).double())


def test_rjcp_of_a_projection_is_the_share_it_loses() -> None:
    """J_g J_f = a projection onto every other unknown: with signs for probes, each single one gives exactly 1/2."""
    kept = (torch.arange(MANY) % 2).double()
    found = gain(MANY, kept).published(torch.randn(3, MANY).double())
    assert PROBES > 1
    torch.testing.assert_close(found, torch.full((3,), 0.5, dtype=torch.float64))


def test_error_bars_by_draws_are_noise_and_what_is_unresolved() -> None:
    """J_g = I and R = diag: std^2 = noise^2 + (1 - R)^2 Var x, and diag R exactly, by signs for probes."""
    factor = torch.linspace(0.0, 1.0, MANY, dtype=torch.float64)
    unknowns = 3.0 * torch.randn(4000, MANY, dtype=torch.float64)
    inspector, noise_std = gain(MANY, factor), 0.5
    x = torch.randn(7, MANY, dtype=torch.float64)
    nothing = Inspected(torch.empty(7, 3), torch.empty(7))
    found = model_uncertainty(inspector, nothing, Prior.of(unknowns), noise_std, x, inspector.f(x))
    torch.testing.assert_close(found.resolution, factor.expand(7, -1))
    expected = (noise_std**2 + ((1.0 - factor) * 3.0).square()).sqrt()
    ratio = found.std / expected
    assert ratio.mean().item() == pytest.approx(1.0, abs=0.05)
    assert ((ratio > 0.5) & (ratio < 1.6)).all()
    torch.testing.assert_close(found.std, found.std[:1].expand(7, -1))  # the same draws serve every row
