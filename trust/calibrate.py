"""Builds a checkpoint's calibration from items that training never saw, solved exactly as the service will."""

from torch import Tensor

from models.deceptron import Deceptron
from physics.problem import Problem
from solvers.plans import Preset, objective_for, plan_for, run_plan
from solvers.solve import Rules, Solution
from trust.calibration import COLUMNS, Calibration
from trust.jacobians import Inspected
from trust.moments import Observed, Spread
from trust.ranks import Ranks
from trust.scores import Scorer, determined
from trust.uncertainty import Prior, conformal_factor, model_uncertainty

TYPICAL_ITEMS = 500  # training items whose answers say how far out is usual
FACTOR_ITEMS = 200  # that error bars by draws are scaled on: those take a while


def calibrate(
    problem: Problem,
    deceptron: Deceptron,
    preset: Preset,
    rules: Rules,
    training: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
) -> Calibration:
    """Scores the held-out items.

    Args:
        preset, rules: the checkpoint's own, under which the items are solved with method ``auto``.
        training: (x, noisy y) that moments are taken from; held_out: (x, noisy y) for the ranks, N >= 100.
    """
    objective = objective_for(preset, problem, deceptron)
    plan = plan_for("auto", preset, problem.n)

    def solved(y: Tensor) -> Solution:
        return run_plan(plan, objective, y.to(objective.scale), problem.start, rules).solution

    usual = solved(training[1][:TYPICAL_ITEMS]).x
    spread = Spread.of(determined(problem, training[0].double()), determined(problem, usual.double()))
    scorer = Scorer(problem, deceptron, Observed.of(training[1]), spread)
    answers = solved(held_out[1])
    scored = scorer.score(objective, answers.x, answers.y, held_out[1].to(objective.scale))
    prior = Prior.of(training[0])
    factor = _factor(scorer, scored.inspected, prior, answers, held_out[0].to(objective.scale))
    return Calibration(Ranks.of(scored.scores, COLUMNS), scorer.observed, spread, prior, factor)


def _factor(scorer: Scorer, inspected: Inspected, prior: Prior, answers: Solution, truth: Tensor) -> Tensor:
    count = len(truth) if scorer.inspector.exact else FACTOR_ITEMS
    x, fit = answers.x[:count], answers.y[:count]
    modelled = model_uncertainty(scorer.inspector, inspected, prior, scorer.problem.noise_std, x, fit)
    return conformal_factor(x - truth[:count], modelled.std)
