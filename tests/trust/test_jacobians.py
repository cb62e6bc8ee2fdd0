"""Jacobian scores against their formulas, and by probes where there are too many unknowns for explicit ones."""

from itertools import product

import pytest
import torch
from torch import Generator, Tensor
from torch.autograd.functional import jacobian

from models.deceptron import Deceptron, DeceptronConfig
from trust import jacobians as module
from trust.jacobians import Inspected, Inspector

N, M, B = 3, 5, 6
SCALE = torch.tensor([1.0, 20.0, 0.1], dtype=torch.float64)


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


def inspector_of(model: Deceptron, affine: bool = False) -> Inspector:
    return Inspector(model.f, model.g, SCALE, model.y_scale, affine=affine)


def items(model: Deceptron) -> tuple[Tensor, Tensor, Tensor]:
    """x, f(x), y*."""
    x = SCALE * torch.randn(B, N, dtype=torch.float64)
    fit = model.f(x)
    return x, fit, fit + 0.3 * torch.randn_like(fit)


def jacobians(model: Deceptron, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """J_f(x) and J_g(y) of one row, in units of the unknowns' scale."""
    J_f = jacobian(lambda row: model.f(row[None])[0], x) * SCALE
    return J_f, jacobian(lambda row: model.g(row[None])[0], y) / SCALE[:, None]


@pytest.mark.parametrize("rows", [1, B, 4 * B])
def test_scores_are_their_formulas(model: Deceptron, rows: int) -> None:
    x, fit, y = (tensor.repeat(4, 1)[:rows] for tensor in items(model))
    found = inspector_of(model).inspect(x, fit, y)
    eye = torch.eye(N, dtype=torch.float64)
    for i in range(min(rows, B)):
        J_f, at_fit = jacobians(model, x[i], fit[i])
        _, at_data = jacobians(model, x[i], y[i])
        expected = (
            (at_fit @ J_f - eye).square().sum() / N,
            (at_data @ J_f - eye).square().sum() / N,
            ((at_data - at_fit) * model.y_scale).square().sum() / (N * M),
        )
        torch.testing.assert_close(found.scores[i], torch.stack(expected))
        assert found.resolution_matrix is not None
        assert found.inverse_jacobian is not None
        torch.testing.assert_close(found.resolution_matrix[i], at_fit @ J_f)
        torch.testing.assert_close(found.inverse_jacobian[i], at_fit)
    assert (found.standard_error == 0).all()
    torch.testing.assert_close(inspector_of(model).published(x), found.scores[:, 0])


def test_an_affine_model_jumps_nowhere_and_is_inspected_once() -> None:
    model = model_of("identity", "layer")
    assert model.linear
    assert not model_of().linear
    once, each = (inspector_of(model, affine).inspect(*items(model)) for affine in (True, False))
    assert (each.scores[:, 2] == 0).all()
    torch.testing.assert_close(once.scores, each.scores)
    torch.testing.assert_close(once.resolution_matrix, each.resolution_matrix)
    torch.testing.assert_close(once.inverse_jacobian, each.inverse_jacobian)


def test_jacobians_in_closed_form_take_the_place_of_autograd(model: Deceptron) -> None:
    x, fit, y = items(model)
    ones = torch.ones(M, N, dtype=torch.float64)
    args = (model.f, model.g, SCALE, model.y_scale)
    closed = Inspector(*args, lambda x: ones.expand(len(x), -1, -1), lambda y: 2 * ones.T.expand(len(y), -1, -1))
    found = closed.inspect(x, fit, y)
    assert found.resolution_matrix is not None
    torch.testing.assert_close(found.resolution_matrix[0], (2 * ones.T / SCALE[:, None]) @ (ones * SCALE))
    both = [Inspector(*args, *given).inspect(x, fit, y).scores for given in ((), (model.jacobian_f, model.jacobian_g))]
    torch.testing.assert_close(*both)


@pytest.mark.parametrize("exact", [True, False])
def test_an_item_gets_the_same_figures_in_any_company(
    model: Deceptron, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT_UP_TO", N if exact else 0)
    x, fit, y = items(model)
    whole = inspector_of(model).inspect(x, fit, y)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    for found in (
        inspector_of(model).inspect(x, fit, y),
        *(inspector_of(model).inspect(x[i:], fit[i:], y[i:]) for i in range(1, B)),
    ):
        rows = len(found.scores)
        torch.testing.assert_close(found.scores, whole.scores[-rows:], rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(found.standard_error, whole.standard_error[-rows:], rtol=1e-9, atol=0)


def sign_vectors(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """All 2^n sign vectors, repeated to the length asked for: their mean is the expectation over Rademacher probes."""
    vectors = torch.tensor(list(product((-1.0, 1.0), repeat=shape[1]))).to(like)
    return vectors.repeat(shape[0] // len(vectors), 1)


def test_probes_have_the_exact_scores_for_their_expectation(model: Deceptron, monkeypatch: pytest.MonkeyPatch) -> None:
    x, fit, y = items(model)
    exact = inspector_of(model).inspect(x, fit, y)
    monkeypatch.setattr(module, "EXACT_UP_TO", 0)
    monkeypatch.setattr(module, "PROBES", 2**M)
    monkeypatch.setattr(module, "rademacher", sign_vectors)
    found = inspector_of(model).inspect(x, fit, y)
    torch.testing.assert_close(found.scores, exact.scores)


def test_probed_scores_come_with_an_honest_standard_error(model: Deceptron, monkeypatch: pytest.MonkeyPatch) -> None:
    x, fit, y = items(model)
    exact = inspector_of(model).inspect(x, fit, y)
    monkeypatch.setattr(module, "EXACT_UP_TO", 0)
    found = inspector_of(model).inspect(x, fit, y)
    assert (found.standard_error > 0).all()
    off = (found.scores[:, 0] - exact.scores[:, 0]).abs() / found.standard_error
    assert (off < 4.0).all()
    assert (found.inverse_jacobian, found.resolution_matrix) == (None, None)


@pytest.mark.parametrize(("n", "exact"), [(64, True), (65, False)])
def test_up_to_64_unknowns_are_exact(n: int, exact: bool) -> None:
    model = Deceptron(DeceptronConfig(n, 2, "surrogate", "layer", (), "identity")).double().requires_grad_(False)
    x, y = torch.randn(2, n, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    inspector = Inspector(model.f, model.g, torch.ones(n, dtype=torch.float64), model.y_scale)
    found: Inspected = inspector.inspect(x, model.f(x), y)
    assert inspector.exact == (found.resolution_matrix is not None) == exact
    assert found.scores.shape == (2, 3)
