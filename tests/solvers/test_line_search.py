"""Armijo's rule along a curve: what is accepted, how often it is halved, and what relaxation does."""

import math

import pytest
import torch
from torch import Tensor

from physics.constraints import Box, Constraint, Unconstrained
from solvers.dipg import DIPG
from solvers.gauss_newton import GaussNewton
from solvers.line_search import Armijo, Found
from solvers.method import Curve, Iterate, Objective, Straight
from solvers.solve import Rules, solve
from tests.solvers.toys import objective, well_posed


def identity(constraint: Constraint | None = None) -> Objective:
    """Phi = x^2 / 2, towards y* = 0."""
    return objective(lambda x: x, lambda y: y, 1, 1, constraint or Unconstrained())


def search(rule: Armijo, directions: list[float], of: Objective | None = None) -> Found:
    """From x = 1 along each direction."""
    of = of or identity()
    x, target = torch.ones(len(directions), 1).double(), torch.zeros(len(directions), 1).double()
    at = Iterate.at(of, x, target)
    return searched(rule, of, target, at, Straight(x, torch.tensor(directions).double()[:, None]))


def searched(rule: Armijo, of: Objective, observation: Tensor, at: Iterate, curve: Curve) -> Found:
    return rule.search(of, observation, at, curve, *rule.attempt(of, observation, at, curve.full()))


def test_rows_halve_on_their_own() -> None:
    """|1 + alpha d| < 1 needs alpha < 2 / |d|: a full step, two halvings, four, and never uphill."""
    found = search(Armijo(), [-1.0, -7.0, -31.0, 1.0])
    assert found.accepted.tolist() == [True, True, True, False]
    assert found.alpha[:3, 0].tolist() == [1.0, 0.25, 0.0625]
    assert found.trials.tolist() == [1, 3, 5, 9]
    assert found.at.x[:, 0].tolist() == [0.0, 1.0 - 7.0 / 4, 1.0 - 31.0 / 16, 1.0]
    assert torch.equal(found.at.y, found.at.x)


@pytest.mark.parametrize("halvings", [0, 1, 5])
def test_it_gives_up_after_its_halvings(halvings: int) -> None:
    found = search(Armijo(halvings=halvings), [1.0])
    assert not found.accepted.any()
    assert found.trials.tolist() == [halvings + 1]
    assert found.at.x.item() == 1.0


def test_the_last_halving_still_counts() -> None:
    needs_eight = -2.0 * 2**8 + 1.0
    assert search(Armijo(halvings=8), [needs_eight]).accepted.all()
    assert not search(Armijo(halvings=7), [needs_eight]).accepted.any()


def test_sufficient_decrease() -> None:
    """Along -grad of x^2 / 2, alpha (1 - alpha / 2) >= slope * alpha: at slope 0.9 that is alpha <= 0.2."""
    assert search(Armijo(slope=0.9), [-1.0]).alpha.item() == 0.125
    assert search(Armijo(slope=0.4), [-1.0]).alpha.item() == 1.0


def test_standing_still_is_no_step() -> None:
    found = search(Armijo(), [0.0])
    assert not found.accepted.any()


def test_rounding_is_no_decrease() -> None:
    """Where a curve leads back to x, or along a null direction, the last bit must not decide whether a row moves."""
    of = objective(lambda x: x[:, :1] + 1e-16 * x[:, 1:], lambda y: y, 2, 1)
    x, target = torch.ones(2, 2).double(), torch.zeros(2, 1).double()
    at = Iterate.at(of, x, target)
    nowhere = torch.tensor([[-2.3e-16, 0.0], [-2.3e-16, -1.0]]).double()
    misfit = Iterate.at(of, x + nowhere, target).misfit
    assert (misfit < at.misfit).all(), "lower, but by the last bit"
    assert not searched(Armijo(), of, target, at, Straight(x, nowhere)).accepted.any()


def test_trials_are_projected() -> None:
    found = search(Armijo(), [-1.0], identity(Box(0.4, 2.0)))
    assert found.accepted.all()
    assert found.at.x.item() == 0.4


def test_a_curve_that_is_no_descent_direction_must_still_go_down() -> None:
    """At (1, 1) towards 0 and along grad . p > 0, where every step raises the misfit: none is let pass."""
    of = objective(lambda x: x, lambda y: y, 2, 2)
    x, target = torch.ones(2, 2).double(), torch.zeros(2, 2).double()
    at = Iterate.at(of, x, target)
    uphill = torch.tensor([[1.0, -0.9], [1.0, -0.1]]).double()
    assert ((uphill * at.gradient).sum(1) > 0).all()
    found = searched(Armijo(halvings=3), of, target, at, Straight(x, uphill))
    assert not found.accepted.any()


@pytest.mark.parametrize("relaxation", [1.0, 0.4, 0.1])
@pytest.mark.parametrize("method", [GaussNewton(ridge=0.0), DIPG(), DIPG(anchored=False)], ids=repr)
def test_an_exact_step_shrinks_the_residual_by_one_minus_rho(relaxation: float, method: GaussNewton | DIPG) -> None:
    """On a linear problem with exact steps rho decides the pace, and nothing else does."""
    toy = well_posed()
    rules = Rules(Armijo(relaxation=relaxation), tolerance=1e-9, max_iterations=3)
    history = solve(toy.objective, toy.observation, toy.start, method, rules, history=True).history
    assert history is not None
    ratios = history[:, 1:] / history[:, :-1]
    left = 1.0 - relaxation
    if relaxation == 1.0:
        assert (history[:, 1] < 1e-12).all()
    else:
        torch.testing.assert_close(ratios, torch.full_like(ratios, left), rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", [GaussNewton(), DIPG(), DIPG(anchored=False)], ids=repr)
def test_why_the_papers_counts_are_three(method: GaussNewton | DIPG) -> None:
    """rho = 0.4 and eps = 0.30 make any exact step take 3 iterations from a residual of one: 0.6^3 < 0.3 < 0.6^2."""
    toy = well_posed()
    start_rms = toy.observation.square().mean(1, keepdim=True).sqrt()
    unit: Tensor = toy.observation / start_rms
    found = solve(toy.objective, unit, toy.start, method, Rules(Armijo(relaxation=0.4), 0.30, 200))
    assert (found.iterations == math.ceil(math.log(0.30) / math.log(0.6))).all()
    assert (found.iterations == 3).all()
