"""Where training begins, and the data it begins from."""

from dataclasses import replace
from math import prod
from typing import Literal

import pytest
import torch

from models.deceptron import Deceptron
from physics.problem import Quantity
from tests.training.tiny import PROBLEM, SCALE, items, recipe
from training.data import Items, LinearEstimator, Split, draw, split_of
from training.start import RIDGE, prepare


def started(**changes: object) -> Deceptron:
    chosen = recipe(**changes)
    torch.manual_seed(0)
    model = Deceptron(chosen.config(PROBLEM), PROBLEM.forward).double()
    prepare(model, PROBLEM, chosen, items())
    return model.requires_grad_(False)


@pytest.mark.parametrize("forward", ["physics", "surrogate"])
def test_regression_starts_g_at_the_linear_mmse_estimator(forward: str) -> None:
    drawn = items()
    found = started(forward=forward).g(drawn.y)
    torch.testing.assert_close(found, LinearEstimator.fit(drawn)(drawn.y))
    ones = torch.cat([drawn.y, torch.ones(100, 1)], 1).double()
    torch.testing.assert_close(found, ones @ torch.linalg.lstsq(ones, drawn.x).solution)


@pytest.mark.parametrize("factor", [0.0, 5.0])
def test_a_start_under_more_noise_is_the_regression_on_noisier_data(factor: float) -> None:
    drawn = items()
    noisier = drawn.clean + factor * (drawn.y - drawn.clean)
    found = started(start_noise=factor).g(drawn.y)
    torch.testing.assert_close(found, LinearEstimator.fit(Items(drawn.x, drawn.clean, noisier))(drawn.y))


GRID = (5, 6)


def smooth_fields(count: int) -> Items:
    """Fields on a periodic grid, and their averages over neighbours along the first axis."""
    x = torch.randn(count, *GRID, dtype=torch.float64)
    y = x + 0.2 * (x.roll(1, 1) + x.roll(-1, 1)) + 3.0
    return Items(x.flatten(1), y.flatten(1), y.flatten(1))


def on_grid(reach: int, forward: Literal["physics", "surrogate"], drawn: Items) -> Deceptron:
    n = prod(GRID)
    fields = Quantity("field", n, grid=GRID)
    problem = replace(PROBLEM, unknown=fields, observation=fields, scale=(1.0,) * n, start=(0.0,) * n)
    chosen = recipe(architecture="convolutional", hidden=(3,), reach=reach, periodic=True, forward=forward)
    model = Deceptron(chosen.config(problem), PROBLEM.forward).double()
    prepare(model, problem, chosen, drawn)
    return model.requires_grad_(False)


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_on_a_grid_either_side_starts_at_its_regression(reach: int) -> None:
    """The forward map reaches one point: any kernel that wide finds it exactly, and so does a matrix."""
    drawn, fresh = smooth_fields(400), smooth_fields(20)
    model = on_grid(reach, "surrogate", drawn)
    torch.testing.assert_close(model.f(fresh.x), fresh.y, rtol=0, atol=1e-6)
    error = (model.g(fresh.y) - fresh.x).square().mean().sqrt()
    assert error < {0: 1e-6, 1: 0.08, 2: 0.02}[reach], "the inverse reaches further, with falling weights"
    torch.testing.assert_close(on_grid(reach, "physics", drawn).g(fresh.y), model.g(fresh.y))


def test_a_grid_is_normalised_as_one() -> None:
    drawn = smooth_fields(400)
    model = on_grid(1, "physics", drawn)
    torch.testing.assert_close(model.y_shift, drawn.y.mean().expand(30))
    torch.testing.assert_close(model.y_scale, drawn.y.std().expand(30))
    torch.testing.assert_close(model.x_shift, drawn.x.mean().expand(30))


@pytest.mark.parametrize("normalise_x", [True, False])
def test_pseudoinverse_start_is_the_papers(normalise_x: bool) -> None:
    """W the ridge fit of y on x, V = (W^T W + ridge I)^-1 W^T, no bias; all in normalised units."""
    model = started(
        start="pseudoinverse", architecture="layer", hidden=(), activation="identity", normalise_x=normalise_x
    )
    drawn = items()
    z = (drawn.x - model.x_shift) / model.x_scale
    w = (drawn.y - model.y_shift) / model.y_scale
    eye = RIDGE * torch.eye(3, dtype=torch.float64)
    W = torch.linalg.solve(z.T @ z + eye, z.T @ w).T
    (layer,) = model.layers()
    torch.testing.assert_close(layer.W, W)
    torch.testing.assert_close(layer.V, torch.linalg.inv(W.T @ W + eye) @ W.T)
    assert not layer.b.any()
    assert not layer.c.any()


def test_normalisation_comes_from_the_training_items() -> None:
    model, drawn = started(), items()
    torch.testing.assert_close(model.y_shift, drawn.y.mean(0))
    torch.testing.assert_close(model.y_scale, drawn.y.std(0))
    torch.testing.assert_close(model.x_shift, drawn.x.mean(0))
    torch.testing.assert_close(model.x_scale, torch.tensor(SCALE).double())
    plain = started(normalise_x=False)
    assert not plain.x_shift.any()
    assert (plain.x_scale == 1).all()


def test_a_random_start_stays_random() -> None:
    torch.manual_seed(0)
    untouched = Deceptron(recipe().config(PROBLEM)).double().pair.state_dict()
    found = started(start="random").pair.state_dict()
    assert all(torch.equal(found[name], untouched[name]) for name in untouched)


def test_splits_never_overlap() -> None:
    drawn = [draw(PROBLEM, split, 200, seed).x for split in Split for seed in (5, 6)]
    rows = torch.cat(drawn)
    assert len(rows.unique(dim=0)) == len(rows)


def test_splits_do_not_depend_on_each_others_size() -> None:
    small, large = recipe(), recipe(train_items=1000, validation_items=7, calibration_items=300)
    assert torch.equal(split_of(PROBLEM, small, Split.TEST).y, split_of(PROBLEM, large, Split.TEST).y)
    assert len(split_of(PROBLEM, large, Split.VALIDATION).x) == 7
    assert len(split_of(PROBLEM, large, Split.TRAIN).x) == 1000


def test_items_are_what_they_say() -> None:
    drawn = items(2000)
    assert torch.equal(drawn.clean, PROBLEM.forward(drawn.x))
    assert (drawn.y - drawn.clean).std().item() == pytest.approx(PROBLEM.noise_std, rel=0.05)
    assert torch.equal(drawn.y, items(2000).y)
