"""Beyond 64 unknowns: no error bars, scores by probes, and a calibration that stays small on disk."""

import pytest
import torch
from torch import Generator

from models.deceptron import Deceptron, DeceptronConfig
from physics.heat1d import heat1d
from solvers.plans import rules_for
from trust.calibrate import calibrate
from trust.calibration import WHOLE_UP_TO, Calibration
from trust.scores import PROBES, Observed, rjcp

MANY = 2 * WHOLE_UP_TO


def moments(m: int) -> Observed:
    mix = torch.randn(m, m, dtype=torch.float64) / m**0.5
    return Observed.of(torch.randn(4 * m, m, dtype=torch.float64) @ mix)


def stored(observed: Observed) -> Calibration:
    return Calibration.of(torch.rand(100, 5), observed, torch.empty(0, 0), torch.empty(0))


@pytest.mark.parametrize("m", [1, WHOLE_UP_TO, WHOLE_UP_TO + 1, MANY])
def test_the_whitener_survives_storage(m: int) -> None:
    observed = moments(m)
    again = Calibration.from_tensors(stored(observed).tensors()).observed
    y = 3.0 * torch.randn(20, m, dtype=torch.float64)
    torch.testing.assert_close(again.distance(y), observed.distance(y), rtol=1e-5, atol=1e-6)
    assert m > WHOLE_UP_TO or torch.equal(again.whitener, observed.whitener)


def test_a_large_one_is_stored_in_a_quarter_of_its_size() -> None:
    kept = stored(moments(MANY)).tensors()["observed_whitener"]
    assert kept.dtype == torch.float32
    assert kept.element_size() * kept.numel() < 0.26 * 8 * MANY**2


def test_a_long_rod_is_calibrated_without_error_bars() -> None:
    n = WHOLE_UP_TO + 2
    problem = heat1d(n)
    torch.manual_seed(0)
    model = Deceptron(DeceptronConfig(n, n, "physics", "residual"), problem.forward).requires_grad_(False)
    x, clean = problem.simulate(400, Generator().manual_seed(0))
    y = problem.observe(clean, Generator().manual_seed(1))
    made = calibrate(problem, model, "product", rules_for("product", n), (x, y), (x[:100], y[:100]))
    assert made.unknown_covariance.numel() == made.interval_factor.numel() == 0
    assert made.scores.isfinite().all()
    again = Calibration.from_tensors(made.tensors())
    torch.testing.assert_close(again.p_values(made.scores)[1], made.p_values(made.scores)[1])


def test_rjcp_of_a_projection_is_the_share_it_loses() -> None:
    """J_g J_f = a projection onto every other unknown: with signs for probes, each single one gives exactly 1/2."""
    n = MANY
    kept = (torch.arange(n) % 2).double()
    model = Deceptron(DeceptronConfig(n, n, "physics", "layer", activation="identity"), lambda x: kept * x).double()
    model.pair.get_parameter("V").data.copy_(torch.eye(n))
    found = rjcp(model.requires_grad_(False), torch.ones(n, dtype=torch.float64), torch.randn(3, n).double())
    assert PROBES > 1
    torch.testing.assert_close(found, torch.full((3,), 0.5, dtype=torch.float64))
