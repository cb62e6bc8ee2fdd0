"""The one loop: what ends a row, what it is charged, and what its history says."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from models.rows import FOUR
from physics.constraints import Box, Unconstrained
from solvers.dipg import DIPG
from solvers.gauss_newton import GaussNewton, LevenbergMarquardt
from solvers.gradient import BarzilaiBorwein, FixedStepGradient
from solvers.lbfgs import LBFGS
from solvers.line_search import Armijo
from solvers.method import CHARGES, Map, Method
from solvers.solve import Rules, Status, solve
from tests.solvers.toys import METHODS, ROWS, RULES, TOYS, linear, matrix, nonlinear, objective, well_posed

CONSTRAINED: dict[str, Method] = {
    "bb": BarzilaiBorwein(),
    "lbfgs": LBFGS(),
    "gn": GaussNewton(),
    "lm": LevenbergMarquardt(),
}


@dataclass
class Counted:
    """A map that counts the rows it is asked for, and the times."""

    of: Map
    rows: int = 0
    calls: int = 0

    def __call__(self, batch: Tensor) -> Tensor:
        self.rows += len(batch)
        self.calls += 1
        return self.of(batch)


@pytest.mark.parametrize("method", [DIPG(), DIPG(anchored=False), FixedStepGradient(step=6.0)], ids=repr)
@pytest.mark.parametrize("toy", ["well-posed", "nonlinear", "box-active"])
def test_every_evaluation_is_charged_and_none_is_made_for_finished_rows(method: Method, toy: str) -> None:
    """f and g see the rows that are charged, and what fills fours up; the rows of the batch end at different times."""
    case = TOYS[toy]()
    forward, inverse = Counted(case.objective.forward), Counted(case.objective.inverse)
    start = case.start.clone()
    start[0] = case.truth[0]
    start[1] = case.truth[1] + 1e-4
    counted = replace(case.objective, forward=forward, inverse=inverse)
    found = solve(counted, case.observation, start, method, replace(RULES, max_iterations=60))
    cost = dict(zip(CHARGES, found.cost.sum(0).tolist(), strict=True))
    for kind, counted_map in (("forward", forward), ("inverse", inverse)):
        assert cost[kind] <= counted_map.rows <= cost[kind] + (FOUR - 1) * counted_map.calls
    assert found.cost[:, CHARGES.index("vjp")].tolist() == found.iterations.tolist()
    assert len(set(found.iterations.tolist())) > 1


def test_a_batch_of_finished_rows_costs_one_look() -> None:
    case = well_posed()
    forward = Counted(case.objective.forward)
    found = solve(replace(case.objective, forward=forward), case.observation, case.truth, GaussNewton(), RULES)
    assert forward.rows == ROWS
    assert (found.status == Status.CONVERGED).all()


def test_newton_charges_the_cheaper_jacobian() -> None:
    """n tangents when the unknowns are fewer, m cotangents when the data are."""
    for toy, column, count in (("well-posed", "jvp", 4), ("wide", "vjp", 3)):
        case = TOYS[toy]()
        found = solve(case.objective, case.observation, case.start, GaussNewton(), RULES)
        cost = dict(zip(CHARGES, found.cost.T.tolist(), strict=True))
        iterations = found.iterations.tolist()
        assert cost[column] == [(count + (column == "vjp")) * k for k in iterations]
        assert cost["linear_solve"] == iterations


@pytest.mark.parametrize("name", CONSTRAINED)
def test_finds_the_constrained_least_squares_solution(name: str) -> None:
    """The data pull out of the box: nobody converges, and everybody ends at SciPy's answer."""
    A, box = matrix(6, 4, 0.8, 1.5), Box(-0.5, 0.5)
    case = objective(lambda x: x @ A.T, lambda y: y, 4, 6, box)
    observation = torch.randn(ROWS, 6, dtype=torch.float64) * 2.0
    found = solve(case, observation, torch.zeros(ROWS, 4).double(), CONSTRAINED[name], RULES, history=True)
    expected = [lsq_linear(A.numpy(), y.numpy(), (-0.5, 0.5), tol=1e-14).x for y in observation]
    torch.testing.assert_close(found.x, torch.from_numpy(np.array(expected)), rtol=0, atol=2e-4)
    assert (case.constraint.active(found.x) > 0).any()
    assert (found.status != Status.CONVERGED).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_stalled_row_keeps_its_best_point_and_its_whole_history(name: str) -> None:
    """Inconsistent data: no x explains them, every method comes to rest, and the last entry is where."""
    A = matrix(6, 4, 0.8, 1.5)
    case = linear(A, 0.9 * torch.linalg.pinv(A))
    observation = torch.randn(ROWS, 6, dtype=torch.float64)
    rules = replace(RULES, least_decrease=1e-4)
    found = solve(case, observation, torch.zeros(ROWS, 4).double(), METHODS[name], rules, history=True)
    assert (found.status == Status.STALLED).all()
    assert found.history is not None
    for row in range(ROWS):
        trace = found.history[row][found.history[row].isfinite()]
        assert len(trace) == found.iterations[row] + 1
        assert trace[-1] == found.residual_rms[row] == trace.min()
    torch.testing.assert_close(found.residual_rms, (found.y - observation).square().mean(1).sqrt())


@pytest.mark.parametrize("least_decrease", [0.0, 1e-4])
@pytest.mark.parametrize("name", ["dipg", "dipg-published"])
def test_a_stalled_row_stalls_alone_where_it_stalls_in_company(name: str, least_decrease: float) -> None:
    """Null directions and fixed points of the curve, where a step changes the misfit by rounding alone."""
    A = matrix(6, 4, 0.8, 1.5, rank=3)
    null = torch.linalg.svd(A).Vh[3:]
    inverse = torch.linalg.pinv(A, rtol=1e-8)
    case = objective(lambda x: x @ A.T, lambda y: y @ inverse.T + torch.sin(y[:, :1]) @ null, 4, 6)
    observation = torch.randn(40, 6, dtype=torch.float64)
    rules = replace(RULES, least_decrease=least_decrease, max_iterations=60)
    together = solve(case, observation, torch.zeros(40, 4).double(), METHODS[name], rules)
    for row in range(40):
        alone = solve(case, observation[row : row + 1], torch.zeros(1, 4).double(), METHODS[name], rules)
        torch.testing.assert_close(alone.x[0], together.x[row], rtol=0, atol=1e-10)
        assert alone.iterations[0] == together.iterations[row]


def test_crawling_rows_end_and_others_do_not() -> None:
    """Gradient descent along a narrow valley gains little per step: a rule on the gain ends it, else it goes on."""
    A = matrix(6, 4, 0.01, 1.5)
    case = linear(A, torch.linalg.pinv(A))
    truth = torch.randn(ROWS, 4, dtype=torch.float64)
    arguments = (case, truth @ A.T, torch.zeros_like(truth), FixedStepGradient(step=2.0))
    patient = solve(*arguments, replace(RULES, max_iterations=300))
    assert (patient.status == Status.MAX_ITERATIONS).all()
    hasty = solve(*arguments, replace(RULES, max_iterations=300, least_decrease=0.05))
    assert (hasty.status == Status.STALLED).all()
    assert (hasty.iterations < patient.iterations).all()
    assert (hasty.residual_rms >= patient.residual_rms).all()


def test_refinements_go_on_past_the_tolerance() -> None:
    case = nonlinear()
    arguments = (case.objective, case.observation, case.start, GaussNewton())
    rules = replace(RULES, tolerance=0.3)
    plain, refined = solve(*arguments, rules, history=True), solve(*arguments, replace(rules, refinements=2))
    assert (refined.status == Status.CONVERGED).all()
    assert torch.equal(refined.iterations, plain.iterations + 2)
    assert (refined.residual_rms < 1e-2 * plain.residual_rms).all()


def test_refinement_that_finds_nothing_better_stays_converged() -> None:
    A = matrix(6, 4, 0.8, 1.5)
    case = linear(A, torch.linalg.pinv(A))
    observation = torch.randn(ROWS, 6, dtype=torch.float64)
    rules = Rules(Armijo(), tolerance=10.0, max_iterations=50, refinements=20)
    found = solve(case, observation, torch.zeros(ROWS, 4).double(), GaussNewton(), rules)
    assert (found.status == Status.CONVERGED).all()
    expected = torch.linalg.lstsq(A, observation.T).solution.T
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-5)


def test_start_is_projected_first() -> None:
    case = objective(lambda x: x, lambda y: y, 2, 2, Box(0.0, 1.0))
    start = torch.tensor([[5.0, -5.0]]).double()
    found = solve(case, torch.tensor([[1.0, 0.0]]).double(), start, GaussNewton(), RULES)
    assert found.x.tolist() == [[1.0, 0.0]]
    assert found.iterations.tolist() == [0]


def test_nan_on_the_way_is_stepped_back_from() -> None:
    """log(x) is NaN where the full step lands: a shorter one is tried, and the row goes on."""
    case = objective(torch.log, torch.exp, 1, 1, Unconstrained())
    truth = torch.tensor([[0.05], [2.0]]).double()
    start = torch.tensor([[3.0], [3.0]]).double()
    assert (start - start * (start.log() - truth.log()) < 0).tolist() == [[True], [False]]
    found = solve(case, truth.log(), start, GaussNewton(), RULES)
    assert (found.status == Status.CONVERGED).all()
    torch.testing.assert_close(found.x, truth, rtol=1e-5, atol=0)


def test_a_start_without_a_value_ends_at_once() -> None:
    case = objective(torch.log, torch.exp, 1, 1)
    found = solve(case, torch.zeros(2, 1).double(), torch.tensor([[-1.0], [0.5]]).double(), GaussNewton(), RULES)
    assert found.status.tolist() == [Status.NONFINITE, Status.CONVERGED]


def test_progress_counts_finished_rows() -> None:
    case, seen = well_posed(), list[tuple[int, int]]()
    solve(case.objective, case.observation, case.start, BarzilaiBorwein(), RULES, progress=lambda *a: seen.append(a))
    assert seen[-1] == (ROWS, ROWS)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {total for _, total in seen} == {ROWS}


def test_every_status_has_its_sentence() -> None:
    sentences = {status.sentence for status in Status}
    assert len(sentences) == len(Status)
    assert all(sentence.endswith(".") for sentence in sentences)
