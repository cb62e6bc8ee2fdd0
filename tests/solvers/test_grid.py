"""Every method on every toy problem: it gets there, never uphill, never out of C, each row on its own."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from solvers.method import Iterate
from solvers.solve import Solution, Status, solve
from tests.solvers.toys import GRID, METHODS, ROWS, RULES, TOYS, Toy


@pytest.fixture(params=GRID, ids=lambda pair: f"{pair[0]}-on-{pair[1]}")
def case(request: pytest.FixtureRequest) -> tuple[str, Toy]:
    method, toy = request.param
    return method, TOYS[toy]()


def run(method: str, toy: Toy, rows: Tensor | slice = slice(None)) -> Solution:
    return solve(toy.objective, toy.observation[rows], toy.start[rows], METHODS[method], RULES, history=True)


def test_reaches_the_answer(case: tuple[str, Toy]) -> None:
    method, toy = case
    found = run(method, toy)
    assert (found.status == Status.CONVERGED).all(), [Status(s).name for s in found.status]
    assert (found.residual_rms <= RULES.tolerance).all()
    assert (found.iterations > 0).all()
    if toy.unique:
        torch.testing.assert_close(found.x, toy.truth, rtol=0, atol=5e-6)


def test_says_what_is_true_of_its_answer(case: tuple[str, Toy]) -> None:
    method, toy = case
    found = run(method, toy)
    torch.testing.assert_close(found.y, toy.objective.forward(found.x), rtol=0, atol=1e-12)
    rms = (found.y - toy.observation).square().mean(1).sqrt()
    torch.testing.assert_close(found.residual_rms, rms)
    assert toy.objective.constraint.contains(found.x, 0.0).all()


def test_never_goes_uphill(case: tuple[str, Toy]) -> None:
    method, toy = case
    found = run(method, toy)
    assert found.history is not None
    for row in range(ROWS):
        trace = found.history[row][found.history[row].isfinite()]
        assert len(trace) == found.iterations[row] + 1
        assert (trace.diff() <= 0).all()
        assert trace[-1] == found.residual_rms[row]
        start = toy.objective.constraint.project(toy.start[row : row + 1])
        at = Iterate.at(toy.objective, start, toy.observation[row : row + 1])
        assert trace[0].item() == pytest.approx((2 * at.misfit.item()) ** 0.5)
        assert found.history[row, len(trace) :].isnan().all()


def same(one: Solution, other: Solution) -> None:
    for a, b in ((one.x, other.x), (one.y, other.y), (one.residual_rms, other.residual_rms)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    for a, b in ((one.status, other.status), (one.iterations, other.iterations), (one.cost, other.cost)):
        assert torch.equal(a, b)


def test_each_row_alone_gives_the_same(case: tuple[str, Toy]) -> None:
    method, toy = case
    together = run(method, toy)
    for row in range(ROWS):
        only = slice(row, row + 1)
        expected = [tensor[only] for tensor in vars(together).values() if tensor is not together.history]
        same(run(method, toy, only), Solution(*expected))


def test_the_order_of_rows_does_not_matter(case: tuple[str, Toy]) -> None:
    method, toy = case
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    together = run(method, toy)
    expected = [tensor[order] for tensor in vars(together).values() if tensor is not together.history]
    same(run(method, toy, order), Solution(*expected))


def test_a_spoilt_row_harms_nobody(case: tuple[str, Toy]) -> None:
    """NaN, an infinity and an overflow among good observations: each ends as NONFINITE, the others as without them."""
    method, toy = case
    spoilt = toy.observation.clone()
    spoilt[1, 0], spoilt[3, 1], spoilt[4, 2] = torch.nan, torch.inf, 1e200
    found = solve(toy.objective, spoilt, toy.start, METHODS[method], RULES)
    bad, good = torch.tensor([1, 3, 4]), torch.tensor([0, 2, 5])
    assert (found.status[bad] == Status.NONFINITE).all()
    assert (found.iterations[bad] == 0).all()
    assert (found.cost[bad].sum(1) == 1).all(), "one look at f, and no more"
    alone = solve(toy.objective, toy.observation[good], toy.start[good], METHODS[method], RULES)
    same(alone, Solution(*(tensor[good] for tensor in list(vars(found).values())[:6])))


def test_a_row_that_is_there_already_is_let_go(case: tuple[str, Toy]) -> None:
    method, toy = case
    start = toy.start.clone()
    start[2] = toy.truth[2]
    found = solve(toy.objective, toy.observation, start, METHODS[method], RULES)
    assert found.status[2] == Status.CONVERGED
    assert found.iterations[2] == 0
    assert found.cost[2].tolist() == [1, 0, 0, 0, 0]
    assert (found.cost[[0, 1, 3, 4, 5]].sum(1) > 3).all()


def test_a_low_cap_stops_it_with_the_best_point(case: tuple[str, Toy]) -> None:
    method, toy = case
    rules = replace(RULES, max_iterations=1, tolerance=1e-30)
    found = solve(toy.objective, toy.observation, toy.start, METHODS[method], rules, history=True)
    assert (found.iterations == 1).all()
    assert (found.status == Status.MAX_ITERATIONS).all()
    assert found.history is not None
    assert found.history.shape == (ROWS, 2)
    assert (found.history[:, 1] < found.history[:, 0]).all()


def test_float32_gets_as_far_as_float32_can(case: tuple[str, Toy]) -> None:
    method, toy = case
    objective = replace(toy.objective, weight=toy.objective.weight.float(), scale=toy.objective.scale.float())
    double = (toy.objective.forward, toy.objective.inverse)
    forward, inverse = (lambda x, of=of: of(x.double()).float() for of in double)
    objective = replace(objective, forward=forward, inverse=inverse)
    rules = replace(RULES, tolerance=1e-4)
    found = solve(objective, toy.observation.float(), toy.start.float(), METHODS[method], rules)
    assert found.x.dtype == torch.float32
    assert (found.status == Status.CONVERGED).all()
