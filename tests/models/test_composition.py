"""JCP and RJCP against explicit Jacobians: probe by probe, in expectation, and exactly."""

from itertools import product

import pytest
import torch
from torch import Generator, Tensor
from torch.autograd.functional import jacobian

from models.composition import Composition, error_from_resolution, estimate, rademacher
from models.deceptron import Deceptron, DeceptronConfig

N, M, B = 4, 6, 5
SCALE = torch.tensor([1.0, 0.01, 30.0, 2.5], dtype=torch.float64)


@pytest.fixture
def model() -> Deceptron:
    """A nonlinear pair in units that differ by orders of magnitude; every parameter awake."""
    model = Deceptron(DeceptronConfig(N, M, architecture="residual", hidden=(8,), activation="tanh")).double()
    for parameter in model.parameters():
        parameter.data.add_(0.5 * torch.randn_like(parameter))
    model.x_scale.copy_(SCALE)
    return model.requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return SCALE * torch.randn(B, N, dtype=torch.float64)


def explicit(model: Deceptron, x: Tensor, y: Tensor | None = None) -> Tensor:
    """R = D^-1 J_g(y) J_f(x) D, row by row, by torch.autograd's own Jacobians."""
    R = []
    for i, row in enumerate(x):
        at = model.f(row[None])[0] if y is None else y[i]
        J_f = jacobian(lambda r: model.f(r[None])[0], row)
        J_g = jacobian(lambda r: model.g(r[None])[0], at)
        R.append((J_g @ J_f) * SCALE / SCALE[:, None])
    return torch.stack(R)


def error(R: Tensor) -> Tensor:
    return (R - torch.eye(R.shape[-1], dtype=R.dtype)).flatten(1).square().sum(1) / R.shape[-1]


def test_resolution_is_the_product_of_the_jacobians(model: Deceptron, x: Tensor) -> None:
    composition = Composition(model.f, model.g, SCALE)
    torch.testing.assert_close(composition.resolution(x), explicit(model, x))
    torch.testing.assert_close(error_from_resolution(composition.resolution(x)), error(explicit(model, x)))


def test_every_probe_gives_its_own_column_sum(model: Deceptron, x: Tensor) -> None:
    """One probe: exactly |(R - I) xi|^2 / n, whatever xi."""
    R = explicit(model, x)
    for probe in torch.randn(3, N, dtype=torch.float64):
        found, spread = estimate(Composition(model.f, model.g, SCALE), x, probe[None])
        torch.testing.assert_close(found, ((R @ probe) - probe).square().sum(1) / N)
        assert (spread == 0).all()
        v = probe.expand_as(x)
        torch.testing.assert_close(Composition(model.f, model.g, SCALE).error(x, v), R @ probe - probe)


def test_all_sign_vectors_together_are_exact(model: Deceptron, x: Tensor) -> None:
    """The mean over all 2^n Rademacher probes is the expectation itself."""
    probes = torch.tensor(list(product((-1.0, 1.0), repeat=N)), dtype=torch.float64)
    found, _ = estimate(Composition(model.f, model.g, SCALE), x, probes)
    torch.testing.assert_close(found, error(explicit(model, x)))


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_probes_are_right_in_expectation(model: Deceptron, x: Tensor, kind: str) -> None:
    generator = Generator().manual_seed(0)
    probes = rademacher((300, N), generator, x) if kind == "rademacher" else torch.randn_like(x[:1].expand(300, N))
    found, spread = estimate(Composition(model.f, model.g, SCALE), x, probes)
    distance = (found - error(explicit(model, x))) / spread
    assert (distance.abs() < 4.0).all()
    assert (spread > 0).all()


def test_the_standard_error_is_that_of_the_mean(model: Deceptron, x: Tensor) -> None:
    probes = rademacher((8, N), Generator().manual_seed(0), x)
    R = explicit(model, x)
    each = torch.stack([((R @ probe) - probe).square().sum(1) / N for probe in probes])
    found, spread = estimate(Composition(model.f, model.g, SCALE), x, probes)
    torch.testing.assert_close(found, each.mean(0))
    torch.testing.assert_close(spread, each.std(0) / 8**0.5)


def test_the_observation_may_take_the_fits_place(model: Deceptron, x: Tensor) -> None:
    """Published: J_g at f(x). Observed: J_g at y*; another figure as soon as y* is not f(x)."""
    y = model.f(x) + 0.5
    composition = Composition(model.f, model.g, SCALE)
    torch.testing.assert_close(composition.resolution(x, y), explicit(model, x, y))
    probes = N**0.5 * torch.eye(N, dtype=torch.float64)
    published, observed = estimate(composition, x, probes)[0], estimate(composition, x, probes, y)[0]
    torch.testing.assert_close(published, error(explicit(model, x)))
    torch.testing.assert_close(observed, error(explicit(model, x, y)))
    assert ((published - observed).abs() > 1e-3).all()
    torch.testing.assert_close(estimate(composition, x, probes, model.f(x))[0], published)


def test_units_do_not_matter(model: Deceptron, x: Tensor) -> None:
    """Metres or millimetres: with the scale in the same unit, R is the same."""
    unit = torch.tensor([1e3, 1.0, 1e-6, 7.0], dtype=torch.float64)
    there = Composition(lambda z: model.f(z / unit), lambda y: unit * model.g(y), unit * SCALE)
    torch.testing.assert_close(there.resolution(unit * x), Composition(model.f, model.g, SCALE).resolution(x))


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_null_directions_put_a_floor_under_it(rank: int) -> None:
    """The best inverse of a rank-r map leaves exactly 1 - r/n."""
    A = torch.randn(M, rank, dtype=torch.float64) @ torch.randn(rank, N, dtype=torch.float64)
    best = torch.linalg.pinv(A, rtol=1e-10)
    composition = Composition(lambda x: x @ A.T, lambda y: y @ best.T, torch.ones(N, dtype=torch.float64))
    found = error_from_resolution(composition.resolution(torch.randn(3, N, dtype=torch.float64)))
    torch.testing.assert_close(found, torch.full((3,), 1.0 - rank / N, dtype=torch.float64))


def test_a_linear_layer_cannot_tell_requests_apart(x: Tensor) -> None:
    """With the paper's linear activation J_g J_f = V W for every x; a nonlinear pair gives each row its own figure."""
    linear = Deceptron(DeceptronConfig(N, M, architecture="layer", activation="identity")).double()
    found = error_from_resolution(Composition(linear.f, linear.g, torch.ones_like(SCALE)).resolution(x))
    (layer,) = linear.layers()
    expected = (layer.V @ layer.W - torch.eye(N)).square().sum() / N
    torch.testing.assert_close(found, expected.expand(B))


def test_rows_do_not_know_each_other(model: Deceptron, x: Tensor) -> None:
    composition = Composition(model.f, model.g, SCALE)
    probes = rademacher((4, N), Generator().manual_seed(0), x)
    together = estimate(composition, x, probes)
    for i in range(B):
        alone = estimate(composition, x[i : i + 1], probes)
        torch.testing.assert_close(alone[0][0], together[0][i], rtol=1e-12, atol=0)
        torch.testing.assert_close(alone[1][0], together[1][i], rtol=1e-10, atol=0)
    torch.testing.assert_close(
        torch.cat([composition.resolution(row[None]) for row in x]), composition.resolution(x), rtol=1e-12, atol=1e-12
    )


def test_it_trains_both_sides(model: Deceptron, x: Tensor) -> None:
    model.requires_grad_(True)
    Composition(model.f, model.g, SCALE).error(x, torch.randn_like(x)).square().mean().backward()
    for side in ("f", "g"):
        gradients = [p.grad for p in model.parameters_of(side) if p.dim() == 2]
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


def test_rademacher_probes_are_signs() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    probes = rademacher((2000, 3), Generator().manual_seed(0), like)
    assert probes.dtype == like.dtype
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(probes.T @ probes / 2000, torch.eye(3, dtype=torch.float64), rtol=0, atol=0.08)
    assert torch.equal(probes, rademacher((2000, 3), Generator().manual_seed(0), like))
