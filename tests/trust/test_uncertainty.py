"""Error bars: the linear-Gaussian case exactly, 90 % coverage by calibration, and the whole of it on a small rod."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from models.deceptron import Deceptron, DeceptronConfig
from physics.heat1d import heat1d
from solvers.plans import objective_for, plan_for, rules_for, run_plan
from training.data import Items, LinearEstimator, Split, draw
from training.recipes import HEAT1D
from training.start import prepare
from trust.calibrate import calibrate
from trust.calibration import Calibration
from trust.jacobians import Inspector
from trust.scores import SCORES, Scored, Scorer
from trust.uncertainty import NORMAL_90, Prior, conformal_factor, model_uncertainty
from trust.verdict import OUT_OF_RANGE_BELOW


def linear_gaussian() -> tuple[Deceptron, Tensor, Tensor, float]:
    """f = A x, g = the linear MMSE estimate; (model, scale, Cov_x, noise)."""
    n, m, noise = 3, 4, 0.3
    scale = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)
    L = scale[:, None] * torch.tril(torch.randn(n, n, dtype=torch.float64))
    covariance, A = L @ L.T, torch.randn(m, n, dtype=torch.float64)
    G = covariance @ A.T @ torch.linalg.inv(A @ covariance @ A.T + noise**2 * torch.eye(m))
    model = Deceptron(DeceptronConfig(n, m, "surrogate", "layer", (), "identity")).double().requires_grad_(False)
    (layer,) = model.layers()
    layer.W.copy_(A)
    layer.V.copy_(G)
    return model, scale, covariance, noise


def std_of(model: Deceptron, scale: Tensor, noise: float, covariance: Tensor, y: Tensor) -> Tensor:
    """The modelled standard deviation of g(y)."""
    inspector = Inspector(model.f, model.g, scale, model.y_scale)
    x = model.g(y)
    fit = model.f(x)
    prior = Prior(covariance, torch.empty(0, len(scale)))
    return model_uncertainty(inspector, inspector.inspect(x, fit, y), prior, noise, x, fit).std


def test_in_the_linear_gaussian_case_the_modelled_spread_is_the_true_one() -> None:
    model, scale, covariance, noise = linear_gaussian()
    x = torch.randn(20_000, 3, dtype=torch.float64) @ torch.linalg.cholesky(covariance).T
    y = model.f(x) + noise * torch.randn(20_000, 4, dtype=torch.float64)
    error = model.g(y) - x
    std = std_of(model, scale, noise, covariance, y[:50])
    torch.testing.assert_close(std, error.std(0).expand(50, 3), rtol=0.03, atol=0)
    inside = (error.abs() <= NORMAL_90 * std[0]).double().mean(0)
    torch.testing.assert_close(inside, torch.full_like(inside, 0.90), rtol=0, atol=0.01)


def test_its_two_parts_are_noise_and_what_is_unresolved() -> None:
    """J_g J_g^T noise^2 + (R - I) Cov (R - I)^T."""
    model, scale, covariance, noise = linear_gaussian()
    (layer,) = model.layers()
    y = torch.randn(5, 4, dtype=torch.float64)
    G, unresolved = layer.V, layer.V @ layer.W - torch.eye(3)
    expected = (noise**2 * G @ G.T + unresolved @ covariance @ unresolved.T).diagonal().sqrt()
    torch.testing.assert_close(std_of(model, scale, noise, covariance, y), expected.expand(5, 3))


def test_the_factor_covers_nine_tenths_of_fresh_errors() -> None:
    """Whatever the errors look like and however wrong the model is: over calibrations of 99 items, exactly 90 %."""
    generator = Generator().manual_seed(0)
    covered = []
    for _ in range(400):
        std = torch.rand(299, 1, generator=generator, dtype=torch.float64) + 0.2
        heavy = torch.randn(299, 2, generator=generator, dtype=torch.float64) ** 3
        error = heavy * std * torch.tensor([0.1, 7.0], dtype=torch.float64)
        factor = conformal_factor(error[:99], std[:99].expand(99, 2))
        covered.append((error[99:].abs() <= NORMAL_90 * factor * std[99:]).double().mean(0))
    torch.testing.assert_close(torch.stack(covered).mean(0), torch.full((2,), 0.90).double(), rtol=0, atol=0.01)


def test_a_pinned_unknown_keeps_its_factor() -> None:
    error, std = torch.randn(50, 2, dtype=torch.float64), torch.ones(50, 2, dtype=torch.float64)
    error[:, 0] = std[:, 0] = 0.0
    factor = conformal_factor(error, std)
    assert factor[0] == 1.0
    assert factor[1] != 1.0


@pytest.fixture(scope="module")
def rod() -> tuple[Deceptron, Calibration]:
    """Heat-1D on 12 points with g the linear MMSE estimator, calibrated on items of its own."""
    problem = heat1d(12)
    training, held_out = draw(problem, Split.TRAIN, 3000, 0), draw(problem, Split.CALIBRATION, 1500, 0)
    deceptron = Deceptron(DeceptronConfig(12, 12, "physics", "residual", (), "silu"), problem.forward)
    deceptron.requires_grad_(False)
    prepare(deceptron, problem, HEAT1D, training)
    pairs = (training.x, training.y), (held_out.x, held_out.y)
    return deceptron, calibrate(problem, deceptron, "product", rules_for("product", 12), *pairs)


def answered(rod: tuple[Deceptron, Calibration], items: Items) -> tuple[Scored, Tensor, Tensor]:
    """Scores, reconstructions and their error bars, as the service makes them."""
    problem, (deceptron, calibration) = heat1d(12), rod
    objective = objective_for("product", problem, deceptron)
    y = items.y.to(objective.scale)
    found = run_plan(plan_for("auto", "product", 12), objective, y, problem.start, rules_for("product", 12)).solution
    scorer = Scorer(problem, deceptron, calibration.observed, calibration.spread)
    scored = scorer.score(objective, found.x, found.y, y)
    args = (scorer.inspector, scored.inspected, calibration.prior, problem.noise_std, found.x, found.y)
    return scored, found.x, model_uncertainty(*args).std * calibration.interval_factor


def test_fresh_items_in_range_are_taken_for_what_they_are(rod: tuple[Deceptron, Calibration]) -> None:
    calibration = rod[1]
    fresh = draw(heat1d(12), Split.TEST, 2000, 0)
    found, x, std = answered(rod, fresh)
    each, combined = calibration.p_values(found.scores)
    assert (combined < OUT_OF_RANGE_BELOW).double().mean() < 0.02
    assert (combined < 0.05).double().mean().item() == pytest.approx(0.05, abs=0.02)
    assert each.mean(0)[SCORES.index("mahalanobis")].item() == pytest.approx(0.5, abs=0.03)
    inside = ((x - fresh.x).abs() <= NORMAL_90 * std)[:, 1:-1].double().mean(0)
    torch.testing.assert_close(inside, torch.full_like(inside, 0.90), rtol=0, atol=0.035)


def test_shifted_items_are_seen(rod: tuple[Deceptron, Calibration]) -> None:
    """Noise five times as strong, and a sensor that is stuck."""
    fresh = draw(heat1d(12), Split.TEST, 200, 0)
    noisy = fresh.clean + 5.0 * (fresh.y - fresh.clean)
    stuck = fresh.y.clone()
    stuck[:, 6] = 2.0
    for y in (noisy, stuck):
        found, *_ = answered(rod, replace(fresh, y=y))
        assert (rod[1].p_values(found.scores)[1] < OUT_OF_RANGE_BELOW).double().mean() > 0.9


def test_the_rod_is_worth_calibrating(rod: tuple[Deceptron, Calibration]) -> None:
    """The start of training is the linear MMSE estimator itself."""
    training, fresh = draw(heat1d(12), Split.TRAIN, 3000, 0), draw(heat1d(12), Split.TEST, 50, 0)
    expected = LinearEstimator.fit(training)(fresh.y)
    torch.testing.assert_close(rod[0].g(fresh.y.float()).double(), expected, rtol=0, atol=1e-3)
