"""Scores against their formulas by explicit Jacobians, and by probes where there are too many unknowns for those."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.autograd.functional import jacobian

from models.deceptron import Deceptron, DeceptronConfig
from trust import scores
from trust.scores import SCORES, Observed, Scored, score

N, M, B = 3, 5, 6
SCALE = torch.tensor([1.0, 20.0, 0.1], dtype=torch.float64)
NOISE = 0.05


def model_of(activation: str = "tanh", architecture: str = "residual") -> Deceptron:
    config = DeceptronConfig(N, M, "surrogate", architecture, (4,), activation)  # type: ignore[arg-type]
    model = Deceptron(config).double()
    for parameter in model.parameters():
        parameter.data.add_(0.5 * torch.randn_like(parameter))
    model.x_scale.copy_(SCALE)
    model.y_scale.copy_(torch.linspace(0.5, 2.0, M))
    return model.requires_grad_(False)


@pytest.fixture
def model() -> Deceptron:
    return model_of()


@pytest.fixture
def observed() -> Observed:
    return Observed.of(torch.randn(200, M, dtype=torch.float64) @ torch.randn(M, M, dtype=torch.float64) + 1.0)


def items(model: Deceptron) -> tuple[Tensor, Tensor, Tensor]:
    """x, f(x), y*."""
    x = SCALE * torch.randn(B, N, dtype=torch.float64)
    fit = model.f(x)
    return x, fit, fit + 0.3 * torch.randn_like(fit)


def jacobians(model: Deceptron, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """J_f(x) and J_g(y) of one row, in units of the unknowns' scale."""
    J_f = jacobian(lambda row: model.f(row[None])[0], x) * SCALE
    return J_f, jacobian(lambda row: model.g(row[None])[0], y) / SCALE[:, None]


def test_scores_are_their_formulas(model: Deceptron, observed: Observed) -> None:
    x, fit, y = items(model)
    found = score(model, SCALE, NOISE, observed, x, fit, y)
    eye = torch.eye(N, dtype=torch.float64)
    for i in range(B):
        J_f, at_fit = jacobians(model, x[i], fit[i])
        _, at_data = jacobians(model, x[i], y[i])
        expected = {
            "rjcp": (at_fit @ J_f - eye).square().sum() / N,
            "rjcp_observed": (at_data @ J_f - eye).square().sum() / N,
            "jacobian_jump": ((at_data - at_fit) * model.y_scale).square().sum() / (N * M),
            "residual_to_noise": (fit[i] - y[i]).square().mean().sqrt() / NOISE,
            "mahalanobis": observed.distance(y[i : i + 1])[0],
        }
        torch.testing.assert_close(found.scores[i], torch.stack([expected[name] for name in SCORES]))
        assert found.resolution is not None
        assert found.inverse_jacobian is not None
        torch.testing.assert_close(found.resolution[i], (at_fit @ J_f).diagonal())
        torch.testing.assert_close(found.inverse_jacobian[i], at_fit)
    assert (found.rjcp_standard_error == 0).all()


def test_mahalanobis_is_the_textbooks() -> None:
    y = torch.randn(500, M, dtype=torch.float64) @ torch.randn(M, M, dtype=torch.float64) + 3.0
    new = torch.randn(7, M, dtype=torch.float64)
    d = (new - y.mean(0)).numpy()
    expected = np.einsum("bi,ij,bj->b", d, np.linalg.inv(np.cov(y.numpy().T)), d)
    np.testing.assert_allclose(Observed.of(y).distance(new).numpy(), expected, rtol=1e-6)
    assert Observed.of(y).distance(y).mean().item() == pytest.approx(M, rel=0.01)


def test_moments_of_constant_values_do_not_break_it() -> None:
    """A pinned end has no variance but its noise, or none at all."""
    y = torch.randn(100, 3, dtype=torch.float64)
    y[:, 0] = 2.0
    assert Observed.of(y).distance(y).isfinite().all()


def test_a_linear_inverse_jumps_nowhere(observed: Observed) -> None:
    model = model_of("identity", "layer")
    found = score(model, SCALE, NOISE, observed, *items(model)).scores
    assert (found[:, SCORES.index("jacobian_jump")] == 0).all()
    assert found[:, 0].std() < 1e-12 * found[:, 0].mean()
    torch.testing.assert_close(found[:, 0], found[:, 1])


@pytest.mark.parametrize("exact", [True, False])
def test_an_item_gets_the_same_figures_in_any_company(
    model: Deceptron, observed: Observed, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "EXACT_UP_TO", N if exact else 0)
    x, fit, y = items(model)
    whole = score(model, SCALE, NOISE, observed, x, fit, y)
    monkeypatch.setattr(scores, "ROWS_AT_ONCE", 4)
    for found in (
        score(model, SCALE, NOISE, observed, x, fit, y),
        *(score(model, SCALE, NOISE, observed, x[i:], fit[i:], y[i:]) for i in range(1, B)),
    ):
        rows = len(found.scores)
        torch.testing.assert_close(found.scores, whole.scores[-rows:], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(found.rjcp_standard_error, whole.rjcp_standard_error[-rows:], rtol=1e-9, atol=0)


def sign_vectors(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """All 2^n sign vectors, repeated to the length asked for: their mean is the expectation over Rademacher probes."""
    vectors = torch.tensor(list(product((-1.0, 1.0), repeat=shape[1]))).to(like)
    return vectors.repeat(shape[0] // len(vectors), 1)


def test_probes_have_the_exact_scores_for_their_expectation(
    model: Deceptron, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, fit, y = items(model)
    exact = score(model, SCALE, NOISE, observed, x, fit, y)
    monkeypatch.setattr(scores, "EXACT_UP_TO", 0)
    monkeypatch.setattr(scores, "PROBES", 2**M)
    monkeypatch.setattr(scores, "rademacher", sign_vectors)
    found = score(model, SCALE, NOISE, observed, x, fit, y)
    torch.testing.assert_close(found.scores, exact.scores)


def test_probed_scores_come_with_an_honest_standard_error(
    model: Deceptron, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, fit, y = items(model)
    exact = score(model, SCALE, NOISE, observed, x, fit, y)
    monkeypatch.setattr(scores, "EXACT_UP_TO", 0)
    found = score(model, SCALE, NOISE, observed, x, fit, y)
    assert (found.rjcp_standard_error > 0).all()
    off = (found.scores[:, 0] - exact.scores[:, 0]).abs() / found.rjcp_standard_error
    assert (off < 4.0).all()
    assert found == replace(found, resolution=None, inverse_jacobian=None, resolution_matrix=None)


@pytest.mark.parametrize(("n", "exact"), [(64, True), (65, False)])
def test_up_to_64_unknowns_are_exact(n: int, exact: bool) -> None:
    model = Deceptron(DeceptronConfig(n, 2, "surrogate", "layer", (), "identity")).double().requires_grad_(False)
    x, y = torch.randn(2, n, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    observed = Observed.of(torch.randn(50, 2, dtype=torch.float64))
    found: Scored = score(model, torch.ones(n, dtype=torch.float64), NOISE, observed, x, model.f(x), y)
    assert (found.resolution is not None) == exact
    assert found.scores.shape == (2, len(SCORES))
