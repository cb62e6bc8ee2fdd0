"""Presets, and plans of several stages: who takes over what, who gets the credit, and who pays."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from models.deceptron import Deceptron, DeceptronConfig
from physics.constraints import Box
from physics.problem import load_problem
from solvers.dipg import DIPG
from solvers.gauss_newton import DENSE_UP_TO, ConjugateGradient, Dense, GaussNewton, LevenbergMarquardt
from solvers.gradient import BarzilaiBorwein, FixedStepGradient
from solvers.lbfgs import LBFGS
from solvers.line_search import Armijo
from solvers.method import CHARGES, Objective
from solvers.plans import (
    GN_RIDGE,
    METHODS,
    PRESETS,
    Outcome,
    Preset,
    Stage,
    Start,
    noise_level,
    objective_for,
    plan_for,
    rules_for,
    run_plan,
)
from solvers.solve import Rules, Status, solve
from tests.solvers.toys import draws, matrix, objective

PROBLEM = load_problem("oscillator")
PAPER_PRODUCT: tuple[Preset, Preset] = ("paper", "product")
INVERSE = CHARGES.index("inverse")


@pytest.mark.parametrize("m", [1, 5, 64, 1000])
def test_noise_level_is_what_noise_exceeds_once_in_a_thousand(m: int) -> None:
    assert noise_level(m) == pytest.approx((chi2.ppf(0.999, m) / m) ** 0.5)


def test_noise_level_of_the_paper_and_of_noise_itself() -> None:
    """The discrepancy principle: at m = 64, rms residual <= 1.25 x noise."""
    assert noise_level(64) == pytest.approx(1.25, abs=0.03)
    noise = torch.randn(100_000, 64)
    exceeding = (noise.square().mean(1).sqrt() > noise_level(64)).double().mean().item()
    assert exceeding == pytest.approx(1e-3, abs=4e-4)


def test_the_papers_rules() -> None:
    """Section 2: rho 0.4, eps 0.30, cap 200; Armijo c = 1e-4 from alpha = 1, at most 8 halvings."""
    rules = rules_for("paper", 64, refinements=3)
    expected = Rules(Armijo(1e-4, 0.5, 8, 0.4), tolerance=0.30, max_iterations=200, least_decrease=1e-4)
    assert rules == expected


def test_the_product_rules() -> None:
    rules = rules_for("product", 64, refinements=3)
    assert rules.line_search == Armijo(1e-4, 0.5, 8, 1.0)
    assert (rules.tolerance, rules.max_iterations, rules.refinements) == (noise_level(64), 50, 3)
    assert 0 < rules.least_decrease < 1e-2


def model() -> Deceptron:
    model = Deceptron(DeceptronConfig(5, 64, "physics", hidden=(4,)), PROBLEM.forward)
    model.y_scale.copy_(torch.linspace(0.5, 2.0, 64))
    return model


def test_residuals_count_in_the_presets_unit() -> None:
    """paper: normalised y, as trained; product: the sensor's noise."""
    of = model()
    paper, product = (objective_for(preset, PROBLEM, of) for preset in PAPER_PRODUCT)
    assert torch.equal(paper.weight, of.y_scale)
    assert torch.equal(product.weight, torch.full((64,), PROBLEM.noise_std))
    for found in (paper, product):
        assert torch.equal(found.scale, torch.tensor(PROBLEM.scale))
        assert found.constraint == PROBLEM.constraint


def test_a_constraint_only_ever_tightens() -> None:
    tighter = objective_for("product", PROBLEM, model(), Box(-1.0, 1.0)).constraint
    x = 10.0 * torch.randn(50, 5)
    assert PROBLEM.constraint.contains(tighter.project(x)).all()
    assert Box(-1.0, 1.0).contains(tighter.project(x)).all()


DIPG_STAGE = {
    "paper": Stage("dipg", DIPG(anchored=False), Start.PRIOR),
    "product": Stage("dipg", DIPG(), Start.ONE_SHOT),
}
SAME_IN_BOTH = {
    "gn": (Stage("gn", GaussNewton(GN_RIDGE), Start.PRIOR),),
    "lm": (Stage("lm", LevenbergMarquardt(), Start.PRIOR),),
    "lbfgs": (Stage("lbfgs", LBFGS(), Start.PRIOR),),
    "oneshot": (Stage("oneshot", DIPG(), Start.ONE_SHOT, cap=0),),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_what_each_name_stands_for(preset: Preset) -> None:
    """Published D-IPG from the middle of the range; anchored from the one-shot answer. x-GD with the paper's step."""
    gd = FixedStepGradient(step=1.0) if preset == "paper" else BarzilaiBorwein()
    expected = SAME_IN_BOTH | {"dipg": (DIPG_STAGE[preset],), "gd": (Stage("gd", gd, Start.PRIOR),)}
    assert {name: plan_for(name, preset, 5) for name in METHODS if name != "auto"} == expected
    auto = plan_for("auto", preset, 5)
    assert auto[0] == DIPG_STAGE[preset]
    assert [(stage.name, stage.start) for stage in auto[1:]] == [("lm", Start.PREVIOUS), ("lm", Start.PRIOR)]


def test_many_unknowns_go_matrix_free() -> None:
    for name in ("gn", "lm", "auto"):
        for n, kind in ((DENSE_UP_TO, Dense), (DENSE_UP_TO + 1, ConjugateGradient)):
            assert isinstance(plan_for(name, "product", n)[-1].method.linear_solver, kind)  # type: ignore[attr-defined]


RULES = Rules(Armijo(), tolerance=1e-5, max_iterations=30, least_decrease=1e-4)
PRIOR = (0.0, 0.0, 0.0, 0.0)
A = matrix(6, 4, 0.8, 1.5)


def half_learned() -> tuple[Objective, Tensor, Tensor]:
    """f(x) = A x; g undoes it for data whose first unknown is positive, and is no use at all for the others."""
    inverse = torch.linalg.pinv(A)

    def g(y: Tensor) -> Tensor:
        x = y @ inverse.T
        return torch.where(x[:, :1] > 0, x, 3.0 + 0.0 * x)

    truth = draws(6, 4)
    truth[:, 0] = truth[:, 0].abs() * torch.tensor([1, -1, 1, -1, 1, -1])
    return objective(lambda x: x @ A.T, g, 4, 6), truth @ A.T, truth


def auto(history: bool = False) -> tuple[Outcome, Outcome, Tensor]:
    """(D-IPG alone, auto, truth)."""
    of, observation, truth = half_learned()
    one, all_ = (
        run_plan(plan_for(name, "product", 4), of, observation, PRIOR, RULES, history) for name in ("dipg", "auto")
    )
    return one, all_, truth


def test_auto_hands_over_only_what_is_left() -> None:
    alone, found, truth = auto()
    good, left = torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])
    assert (alone.solution.status[good] == Status.CONVERGED).all()
    assert (alone.solution.status[left] != Status.CONVERGED).all()
    assert (found.solution.status == Status.CONVERGED).all()
    torch.testing.assert_close(found.solution.x, truth, rtol=0, atol=1e-4)
    assert found.solved_by[good].tolist() == [0, 0, 0]
    assert (found.solved_by[left] > 0).all()
    for before, after in zip(vars(alone.solution).values(), vars(found.solution).values(), strict=True):
        assert before is None or torch.equal(before[good], after[good]), "rows that are done are not touched"


def test_a_handed_over_row_pays_for_both_stages() -> None:
    alone, found, _ = auto()
    left = torch.tensor([1, 3, 5])
    of, observation, _ = half_learned()
    start = alone.solution.x[left]
    lm = solve(of, observation[left], start, LevenbergMarquardt(), RULES)
    assert torch.equal(found.solution.cost[left], alone.solution.cost[left] + lm.cost)
    assert torch.equal(found.solution.iterations[left], alone.solution.iterations[left] + lm.iterations)


def test_histories_of_stages_follow_on_each_other() -> None:
    alone, found, _ = auto(history=True)
    assert alone.solution.history is not None
    assert found.solution.history is not None
    for row in range(6):
        first, whole = (trace[row][trace[row].isfinite()] for trace in (alone.solution.history, found.solution.history))
        assert torch.equal(whole[: len(first)], first)
        stages = 1 + int(found.solved_by[row] > 0)
        assert len(whole) == found.solution.iterations[row] + stages
        assert whole[-1] == found.solution.residual_rms[row]


def test_each_row_of_a_plan_stands_alone() -> None:
    _, found, _ = auto()
    of, observation, _ = half_learned()
    for row in range(6):
        alone = run_plan(plan_for("auto", "product", 4), of, observation[row : row + 1], PRIOR, RULES)
        torch.testing.assert_close(alone.solution.x[0], found.solution.x[row], rtol=0, atol=1e-10)
        assert alone.solved_by[0] == found.solved_by[row]
        assert torch.equal(alone.solution.cost[0], found.solution.cost[row])


def test_the_better_answer_stays() -> None:
    """Inconsistent data: later stages may only improve on what there is, and get the credit only if they do."""
    of, observation, _ = half_learned()
    observation = observation + torch.randn_like(observation)
    first, found = (run_plan(plan_for(name, "product", 4), of, observation, PRIOR, RULES) for name in ("dipg", "auto"))
    assert (found.solution.residual_rms <= first.solution.residual_rms).all()
    same = found.solution.residual_rms == first.solution.residual_rms
    assert same.any()
    assert torch.equal(found.solution.x[same], first.solution.x[same])
    assert torch.equal(found.solved_by == 0, same)
    best = torch.linalg.lstsq(A, observation.T).solution.T
    torch.testing.assert_close(found.solution.x, best, rtol=0, atol=0.05)


def test_stages_may_be_capped_and_never_exceed_the_rules() -> None:
    of, observation, _ = half_learned()
    for cap, limit, expected in ((2, 30, 2), (30, 3, 3), (None, 4, 4)):
        plan = (Stage("gd", FixedStepGradient(1e-3), Start.PRIOR, cap),)
        found = run_plan(plan, of, observation, PRIOR, replace(RULES, max_iterations=limit, least_decrease=0.0))
        assert (found.solution.iterations == expected).all()


def test_the_one_shot_answer_is_g_of_y_and_costs_one_g_and_one_f() -> None:
    of, observation, _ = half_learned()
    found = run_plan(plan_for("oneshot", "product", 4), of, observation, PRIOR, RULES).solution
    torch.testing.assert_close(found.x, of.inverse(observation))
    assert found.iterations.tolist() == [0] * 6
    assert found.cost.tolist() == [[1, 0, 0, 1, 0]] * 6
    assert found.status.tolist() == [Status.CONVERGED, Status.MAX_ITERATIONS] * 3


def test_the_one_shot_start_is_charged() -> None:
    of, observation, _ = half_learned()
    found = run_plan((DIPG_STAGE["product"],), of, observation[::2], PRIOR, RULES).solution
    assert found.cost[:, INVERSE].tolist() == [1, 1, 1]


def test_broken_observations_are_not_handed_on() -> None:
    of, observation, _ = half_learned()
    observation[1, 2] = torch.nan
    found = run_plan(plan_for("auto", "product", 4), of, observation, PRIOR, RULES)
    assert found.solution.status.tolist() == [0, Status.NONFINITE, 0, 0, 0, 0]
    assert found.solution.iterations[1] == 0


@pytest.mark.parametrize("rows", [0, 1])
def test_small_batches(rows: int) -> None:
    of, observation, _ = half_learned()
    found = run_plan(plan_for("auto", "product", 4), of, observation[:rows], PRIOR, RULES) if rows else None
    if found is None:
        with pytest.raises(ValueError, match="a batch at least one row"):
            run_plan(plan_for("auto", "product", 4), of, observation[:0], PRIOR, RULES)
    else:
        assert found.solution.x.shape == (1, 4)
