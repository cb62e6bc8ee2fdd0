"""The scores of answers, put together: each column is what its name says, for a learned f and for the physics."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from models.deceptron import Deceptron, DeceptronConfig
from physics.oscillator import PROBLEM
from solvers.plans import objective_for
from trust.moments import Observed, Spread
from trust.observation import stillness, trend
from trust.scores import NO_STEP, SCORES, Scorer

B = 20


@pytest.fixture(params=["physics", "surrogate"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    config = DeceptronConfig(PROBLEM.n, PROBLEM.m, request.param, "residual", (8,))
    deceptron = Deceptron(config, PROBLEM.forward).requires_grad_(False)
    x, y = PROBLEM.simulate(500, Generator().manual_seed(0))
    deceptron.x_shift.copy_(x.mean(0))
    q = PROBLEM.identifiable.of(x)  # type: ignore[union-attr]
    return Scorer(PROBLEM, deceptron, Observed.of(y + 0.01 * torch.randn_like(y)), Spread.of(q, q))


def columns(scorer: Scorer, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    objective = objective_for("product", PROBLEM, scorer.deceptron)
    scores = scorer.score(objective, x, scorer.deceptron.f(x), y).scores
    assert scores.dtype == torch.float64
    return dict(zip(SCORES, scores.T, strict=True))


def test_every_column_is_what_it_is_called(scorer: Scorer) -> None:
    x, y = (tensor.float() for tensor in PROBLEM.simulate(B, Generator().manual_seed(1)))
    x[0, 0], x[1, :2] = 0.5, torch.tensor([2.0, 0.0])
    y = y + 0.02 * torch.randn_like(y)
    found, f = columns(scorer, x, y), scorer.deceptron.f
    noise, scale = PROBLEM.noise_std, torch.tensor(PROBLEM.scale)
    one_shot = PROBLEM.constraint.project(scorer.deceptron.g(y))
    true = (PROBLEM.forward(x) - y) / noise
    q = PROBLEM.identifiable.of(x.double())  # type: ignore[union-attr]
    expected = {
        "step_disagreement": ((one_shot - x) / scale).square().mean(1).sqrt(),
        "residual_to_noise": (f(x) - y).square().mean(1).sqrt() / noise,
        "physics_residual_to_noise": true.square().mean(1).sqrt(),
        "residual_trend": trend(true, (PROBLEM.m,)),
        "mahalanobis": scorer.observed.whitened(y).square().sum(1),
        "stillness": stillness(y, noise),
        "unknown_oddness": scorer.spread.oddness(q),
    }
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values.double(), rtol=1e-5, atol=1e-6, msg=name)
    assert found["active_bounds"][:2].tolist() == [1.0, 2.0]
    same = torch.equal(found["residual_to_noise"], found["physics_residual_to_noise"])
    assert same == (scorer.deceptron.config.forward == "physics")


def test_an_answer_that_needed_no_step_has_the_least_disagreement(scorer: Scorer) -> None:
    y = PROBLEM.simulate(B, Generator().manual_seed(1))[1].float()
    one_shot = PROBLEM.constraint.project(scorer.deceptron.g(y))
    assert (columns(scorer, one_shot + 1e-6, y)["step_disagreement"] == NO_STEP).all()


def test_a_row_without_numbers_spoils_no_other(scorer: Scorer) -> None:
    x, y = (tensor.float() for tensor in PROBLEM.simulate(B, Generator().manual_seed(1)))
    spoiled = y.clone()
    spoiled[3] = torch.inf
    clean, found = columns(scorer, x, y), columns(scorer, x, spoiled)
    others = torch.arange(B) != 3
    for name in SCORES:
        torch.testing.assert_close(found[name][others], clean[name][others], rtol=1e-5, atol=1e-7)


def test_affine_models_are_known_as_such() -> None:
    config = DeceptronConfig(3, 4, "surrogate", "layer", (), "identity")
    for changed, linear in (({}, True), ({"activation": "tanh"}, False), ({"architecture": "residual"}, True)):
        assert Deceptron(replace(config, **changed)).linear == linear  # type: ignore[arg-type]
    assert not Deceptron(DeceptronConfig(3, 4, "surrogate", "residual", (5,))).linear
