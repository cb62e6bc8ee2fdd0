"""Each of the nine terms against its formula, written out once more with explicit Jacobians."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.autograd.functional import jacobian

from models.deceptron import Deceptron, DeceptronConfig
from tests.training.tiny import ALL, PROBLEM, SCALE, items, recipe
from training.losses import OFFSET_RANGE, Batch, Losses
from training.recipes import Weights
from training.start import prepare

NAMES = tuple(Weights.__dataclass_fields__)


def losses_of(**changes: Any) -> Losses:
    """Losses of a pair in float64 with no parameter at rest."""
    chosen = recipe(**changes)
    torch.manual_seed(0)
    model = Deceptron(chosen.config(PROBLEM), PROBLEM.forward).double()
    prepare(model, PROBLEM, chosen, items())
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return Losses.of(PROBLEM, chosen, model, items().x)


def batch(rows: int = 6) -> Batch:
    drawn = items(rows)
    return Batch(drawn.x, drawn.clean, drawn.y)


def generator() -> Generator:
    return Generator().manual_seed(3)


def term(losses: Losses, name: str, rows: int = 6) -> Tensor:
    return losses.terms(batch(rows), frozenset([name]), generator())[name]


def mean_square(value: Tensor) -> Tensor:
    return value.square().mean()


def noise(losses: Losses) -> Tensor:
    return PROBLEM.noise_std * torch.randn(batch().y.shape, generator=generator()).double()


def test_task() -> None:
    losses, b = losses_of(), batch()
    torch.testing.assert_close(
        term(losses, "task"), mean_square((losses.deceptron.f(b.x) - b.y) / losses.deceptron.y_scale)
    )


@pytest.mark.parametrize("noise_aware", [True, False])
def test_reconstruction(noise_aware: bool) -> None:
    losses, b = losses_of(noise_aware=noise_aware), batch()
    model = losses.deceptron
    y = b.y if noise_aware else model.f(b.x)
    torch.testing.assert_close(term(losses, "reconstruction"), mean_square((model.g(y) - b.x) / model.x_scale))


def test_cycle() -> None:
    losses = losses_of()
    model, y = losses.deceptron, batch().y + noise(losses)
    torch.testing.assert_close(term(losses, "cycle"), mean_square((model.f(model.g(y)) - y) / model.y_scale))


def test_penalties_on_the_weights() -> None:
    """Summed over the layers: W^T W - I, V W - I, and b + c, or b and c apart where their lengths differ."""
    losses = losses_of(architecture="stack", hidden=(4,), start="random")
    assert [tuple(layer.W.shape) for layer in losses.deceptron.layers()] == [(4, 3), (4, 4)]
    spectral = composition = tie = torch.zeros((), dtype=torch.float64)
    for layer in losses.deceptron.layers():
        eye = torch.eye(layer.W.shape[1], dtype=torch.float64)
        spectral = spectral + (layer.W.T @ layer.W - eye).square().sum()
        composition = composition + (layer.V @ layer.W - eye).square().sum()
        square = len(layer.b) == len(layer.c)
        tie = tie + ((layer.b + layer.c).square().sum() if square else layer.b.square().sum() + layer.c.square().sum())
    for name, expected in (("spectral", spectral), ("composition", composition), ("tie", tie)):
        torch.testing.assert_close(term(losses, name), expected)


def test_where_f_is_the_physics_there_are_no_layers_to_penalise() -> None:
    losses = losses_of(forward="physics")
    for name in ("spectral", "composition", "tie"):
        assert term(losses, name).item() == 0.0


def resolution(losses: Losses, x: Tensor) -> Tensor:
    """D^-1 J_g J_f D of one row."""
    scale, model = torch.tensor(SCALE).double(), losses.deceptron
    J_f = jacobian(lambda row: model.f(row[None])[0], x)
    J_g = jacobian(lambda row: model.g(row[None])[0], model.f(x[None])[0])
    R: Tensor = J_g @ J_f * scale / scale[:, None]
    return R


def probes(losses: Losses, kind: str, source: Generator) -> Tensor:
    if kind == "rademacher":
        return 2.0 * torch.randint(0, 2, (6, 3), generator=source).double() - 1.0
    xi = torch.randn(6, 3, generator=source).double()
    return xi @ losses.probe_factor.T if kind == "covariance" else xi


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "covariance"])
def test_jcp(kind: str, count: int) -> None:
    losses, source = losses_of(probes=kind, probe_count=count), generator()
    R = torch.stack([resolution(losses, x) for x in batch().x])
    errors = []
    for _ in range(count):
        xi = probes(losses, kind, source)
        errors.append(mean_square((R @ xi[..., None])[..., 0] - xi))
    torch.testing.assert_close(term(losses, "jcp"), torch.stack(errors).mean())


def test_covariance_probes_are_the_directions_that_occur() -> None:
    """E[xi xi^T] is the covariance of x in units of scale, with the trace of the identity."""
    losses = losses_of()
    covariance = torch.cov((items().x / torch.tensor(SCALE)).T)
    expected = covariance * 3 / covariance.trace()
    torch.testing.assert_close(losses.probe_factor @ losses.probe_factor.T, expected)


def test_contraction() -> None:
    losses, b, source = losses_of(), batch(), generator()
    model, scale = losses.deceptron, torch.tensor(SCALE).double()
    low, high = map(math.log, OFFSET_RANGE)
    size = torch.exp(low + (high - low) * torch.rand(6, 1, generator=source).double())
    offset = size * scale * (torch.randn(6, 3, generator=source).double() @ losses.probe_factor.T)
    x = PROBLEM.constraint.project(b.x + offset)
    lowest, highest = items().x.amin(0) - 0.1 * scale, items().x.amax(0) + 0.1 * scale
    stepped = torch.minimum(torch.maximum(x + model.g(b.y) - model.g(model.f(x)), lowest), highest)
    before = (model.f(x) - b.clean).square().mean(1) + PROBLEM.noise_std**2 / 4
    q = (model.f(stepped) - b.clean).square().mean(1) / before
    expected = (torch.log(1 + q) + 2.5 * torch.minimum(q, torch.tensor(4.0))).mean()
    torch.testing.assert_close(term(losses, "contraction"), expected)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_unroll(steps: int) -> None:
    """One full step from where the solver's first few have led, judged by what noise-free data would still see."""
    losses, b = losses_of(unroll_steps=steps), batch()
    model = losses.deceptron
    x = PROBLEM.constraint.project(model.g(b.y))
    for _ in range(int(torch.randint(0, steps, (1,), generator=generator())) + 1):
        x = PROBLEM.constraint.project(x + model.g(b.y) - model.g(model.f(x)))
    q = 4 * (model.f(x) - b.clean).square().mean(1) / PROBLEM.noise_std**2
    torch.testing.assert_close(term(losses, "unroll"), torch.log(1 + q).mean())


def test_unroll_learns_from_its_last_step_alone() -> None:
    """Whatever the number of steps before it, only g's part in the last one is differentiated."""
    losses, b = losses_of(forward="physics", unroll_steps=4), batch()
    model = losses.deceptron
    term(losses, "unroll").backward()
    learned = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    with torch.no_grad():
        x = PROBLEM.constraint.project(model.g(b.y))
        for _ in range(int(torch.randint(0, 4, (1,), generator=generator()))):
            x = PROBLEM.constraint.project(x + model.g(b.y) - model.g(model.f(x)))
    last = PROBLEM.constraint.project(x + model.g(b.y) - model.g(model.f(x)))
    torch.log(1 + 4 * (model.f(last) - b.clean).square().mean(1) / PROBLEM.noise_std**2).mean().backward()
    expected = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert learned
    torch.testing.assert_close(learned, expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("task", "spectral")])
def test_what_should_train_g_does(name: str) -> None:
    losses = losses_of(architecture="layer", hidden=(), activation="identity")
    term(losses, name).backward()
    gradients = [parameter.grad for parameter in losses.deceptron.parameters_of("g")]
    assert any(gradient is not None and (gradient != 0).any() for gradient in gradients)


@pytest.mark.parametrize("name", ["contraction", "unroll"])
def test_following_the_solver_makes_its_next_step_better(name: str) -> None:
    """Where f is the physics: all of the gradient goes to g, and following it lowers the term."""
    losses = losses_of(forward="physics")
    optimiser = torch.optim.Adam(losses.deceptron.parameters(), lr=3e-3)
    before = term(losses, name, 100)
    for _ in range(40):
        optimiser.zero_grad()
        term(losses, name, 100).backward()
        optimiser.step()
    assert term(losses, name, 100) < 0.8 * before


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_asked_for_is_computed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("this term is off")

    for other in NAMES:
        if other != name:
            monkeypatch.setattr(Losses, f"_{other}", never)
    assert list(losses_of().terms(batch(), frozenset([name]), generator())) == [name]


def test_weights_of_zero_are_off() -> None:
    assert Weights().active() == {}
    assert replace(ALL, jcp=0.0).active().keys() == set(NAMES) - {"jcp", "contraction", "unroll"}
    assert DeceptronConfig(3, 4) == recipe(hidden=(), activation="silu").config(PROBLEM)
