"""Gauss-Newton and Levenberg-Marquardt: three ways to one step, damping that learns, badly scaled unknowns."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from physics.constraints import Box
from solvers.gauss_newton import ConjugateGradient, Damping, Dense, GaussNewton, LevenbergMarquardt
from solvers.line_search import Armijo
from solvers.method import CHARGES, Iterate, Objective, free_components
from solvers.solve import Rules, Status, solve
from tests.solvers.toys import RULES, TIGHT, TOYS, Toy, matrix, objective, well_posed


def iterate(toy: Toy) -> Iterate:
    return Iterate.at(toy.objective, toy.start, toy.observation)


def reweighted(toy: Toy) -> Toy:
    """Residual units and unknown scales of their own, so that a forgotten one shows."""
    of = toy.objective
    weight = torch.linspace(0.5, 2.0, len(of.weight), dtype=torch.float64)
    return replace(toy, objective=replace(of, weight=weight, scale=torch.linspace(0.3, 3.0, len(of.scale)).double()))


def normal_equations(toy: Toy, relative: float) -> Tensor:
    """p of (J^T J + lambda I) p = -J^T r in z = x / scale, r in units of w, by one plain solve per row."""
    of, at = toy.objective, iterate(toy)
    steps = []
    for x, residual in zip(at.x, at.residual, strict=True):
        J = torch.autograd.functional.jacobian(lambda row: of.forward(row[None])[0], x) * of.scale / of.weight[:, None]
        A = J.T @ J
        A = A + relative * A.diagonal().mean() * torch.eye(len(A), dtype=A.dtype)
        steps.append(-of.scale * torch.linalg.solve(A, J.T @ (residual / of.weight)))
    return torch.stack(steps)


@pytest.mark.parametrize("damping", [1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("name", ["well-posed", "rank-deficient", "wide", "nonlinear"])
def test_the_dense_step_solves_the_damped_normal_equations(name: str, damping: float) -> None:
    """Tall problems take the primal form, wide ones the dual: the same step."""
    toy = reweighted(TOYS[name]())
    found, _ = Dense().direction(toy.objective, iterate(toy), torch.full((len(toy.start), 1), damping).double())
    torch.testing.assert_close(found, normal_equations(toy, damping), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["well-posed", "rank-deficient", "wide", "nonlinear"])
def test_conjugate_gradients_find_the_same_undamped_step(name: str) -> None:
    toy = reweighted(TOYS[name]())
    damping = torch.full((len(toy.start), 1), 1e-10).double()
    dense, _ = Dense().direction(toy.objective, iterate(toy), damping)
    free, cost = TIGHT.direction(toy.objective, iterate(toy), damping)
    torch.testing.assert_close(free, dense, rtol=1e-4, atol=1e-6)
    vjp, jvp = (torch.as_tensor(cost[CHARGES.index(name)]) for name in ("vjp", "jvp"))
    assert torch.equal(vjp, jvp)
    assert (vjp <= 2 * len(toy.objective.scale) + 1).all()


def test_conjugate_gradients_keep_their_word() -> None:
    """|J^T J p + J^T r| <= tolerance |J^T r| in scaled unknowns, for every row."""
    toy = reweighted(well_posed())
    of, at = toy.objective, iterate(toy)
    for tolerance in (0.3, 1e-2, 1e-6):
        p, _ = ConjugateGradient(tolerance).direction(of, at, torch.zeros(len(at.x), 1).double())
        curved = of.pulled(at.x, of.pushed(at.x, p) / (of.weight.square() * len(of.weight)))
        left = (of.scale * (curved + at.gradient)).norm(dim=1)
        assert (left <= 1.01 * tolerance * (of.scale * at.gradient).norm(dim=1)).all()


def test_conjugate_gradients_charge_each_row_its_own_products() -> None:
    A = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0])).double()
    of = objective(lambda x: x @ A, lambda y: y, 4, 4)
    observation = torch.tensor([[1.0, 0, 0, 0], [1.0, 1.0, 1.0, 1.0]]).double()
    at = Iterate.at(of, torch.zeros(2, 4).double(), observation)
    _, cost = TIGHT.direction(of, at, torch.zeros(2, 1).double())
    assert torch.as_tensor(cost[CHARGES.index("vjp")]).tolist() == [2, 5]


@pytest.mark.parametrize("solver", [Dense(), TIGHT], ids=["dense", "cg"])
@pytest.mark.parametrize("name", ["well-posed", "rank-deficient", "wide"])
def test_gauss_newton_solves_a_linear_problem_in_one_step(name: str, solver: Dense | ConjugateGradient) -> None:
    toy = TOYS[name]()
    found = solve(toy.objective, toy.observation, toy.start, GaussNewton(linear_solver=solver), RULES)
    assert (found.iterations == 1).all()
    assert (found.status == Status.CONVERGED).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", [Dense(), ConjugateGradient(1e-6)], ids=["dense", "cg"])
def test_units_of_the_unknowns_do_not_slow_it(solver: Dense | ConjugateGradient, dtype: torch.dtype) -> None:
    """One unknown in micrometres beside one in megametres: as good as both in metres."""
    unit = torch.tensor([1.0, 1e6, 1e-6, 1e3], dtype=dtype)
    A = matrix(6, 4, 0.5, 1.5).to(dtype)
    truth = torch.tensor([[1.0, -0.7, 0.4, 0.9], [0.2, 0.5, -1.0, 0.1]], dtype=dtype)
    of = Objective(
        lambda x: (x / unit) @ A.T, lambda y: y, Box(-1e9, 1e9), torch.full((6,), 0.01, dtype=dtype), unit.clone()
    )
    start = 0.5 * unit.expand(2, 4)
    rules = Rules(Armijo(), tolerance=1e-2, max_iterations=3)
    found = solve(of, truth @ A.T, start, GaussNewton(linear_solver=solver), rules)
    assert (found.status == Status.CONVERGED).all()
    torch.testing.assert_close(found.x / unit, truth, rtol=0, atol=1e-3)


def test_components_at_a_bound_are_left_to_the_bound() -> None:
    """Held where the gradient pushes out of C; free inside, and where it pulls back in."""
    of = objective(lambda x: x, lambda y: y, 3, 3, Box(0.0, 1.0))
    x, target = torch.tensor([[1.0, 1.0, 0.5]]).double(), torch.tensor([[2.0, 0.0, 2.0]]).double()
    assert free_components(of, Iterate.at(of, x, target)).tolist() == [[0.0, 1.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_faint_gradient_does_not_hold_a_component(dtype: torch.dtype) -> None:
    """Far from any bound every component is free, however little the misfit depends on it just here."""
    of = objective(lambda x: x, lambda y: y, 2, 2, Box(-10.0, 10.0))
    of = replace(of, weight=of.weight.to(dtype), scale=of.scale.to(dtype))
    x = torch.tensor([[2.0, 2.0]], dtype=dtype)
    faint = x - torch.tensor([[1.0, 1e-6 if dtype == torch.float32 else 1e-14]], dtype=dtype)
    assert free_components(of, Iterate.at(of, x, faint)).tolist() == [[1.0, 1.0]]


def test_damping_is_relaxed_and_raised_per_row() -> None:
    method = LevenbergMarquardt()
    value = torch.full((4, 1), 0.1).double()
    alpha = torch.tensor([[1.0], [0.25], [1.0], [0.5]]).double()
    memory, may_retry = method.learn(Damping(value), alpha, torch.tensor([True, True, False, False]))
    assert isinstance(memory, Damping)
    torch.testing.assert_close(memory.value[:, 0], torch.tensor([0.02, 0.3, 1.0, 1.0]).double())
    assert may_retry.all()


def test_damping_has_a_floor_and_a_last_try() -> None:
    method = LevenbergMarquardt(lowest=1e-9, highest=1e4)
    edge = torch.tensor([[1e-9], [9e3]]).double()
    memory, may_retry = method.learn(Damping(edge), torch.ones(2, 1).double(), torch.tensor([True, False]))
    assert isinstance(memory, Damping)
    assert memory.value[0].item() == pytest.approx(1e-9)
    assert may_retry.tolist() == [True, False]


def test_levenberg_marquardt_tries_again_where_gauss_newton_gives_up() -> None:
    """arctan(x) from x = 3: the Newton step overshoots, and with no halvings allowed only damping helps."""
    of = objective(torch.arctan, torch.tan, 1, 1)
    start, target = torch.tensor([[3.0], [0.3]]).double(), torch.zeros(2, 1).double()
    rules = Rules(Armijo(halvings=0), tolerance=1e-8, max_iterations=60)
    newton = solve(of, target, start, GaussNewton(), rules)
    assert newton.status.tolist() == [Status.STALLED, Status.CONVERGED]
    assert newton.x[0].item() == 3.0
    damped = solve(of, target, start, LevenbergMarquardt(), rules)
    assert (damped.status == Status.CONVERGED).all()


def test_it_stalls_once_damping_is_at_its_highest() -> None:
    """At the bottom already: more damping cannot help, and the tries are counted."""
    of = objective(lambda x: torch.cat([x, x], 1), lambda y: y[:, :1], 1, 2)
    target = torch.tensor([[1.0, -1.0]]).double()
    found = solve(of, target, torch.zeros(1, 1).double(), LevenbergMarquardt(), Rules(Armijo(), 1e-8, 100))
    assert found.status.tolist() == [Status.STALLED]
    assert 1 < found.iterations.item() < 20


def test_a_jacobian_that_is_not_finite_stalls_its_row_alone() -> None:
    """sqrt at zero: no step can be computed there; the neighbour does not notice."""
    of = objective(torch.sqrt, torch.square, 1, 1, Box(0.0, 9.0))
    start, target = torch.tensor([[0.0], [0.5]]).double(), torch.tensor([[2.0], [2.0]]).double()
    for method in (GaussNewton(), LevenbergMarquardt(), GaussNewton(linear_solver=TIGHT)):
        found = solve(of, target, start, method, RULES)
        assert found.status.tolist() == [Status.STALLED, Status.CONVERGED]
        assert found.x[0].item() == 0.0
