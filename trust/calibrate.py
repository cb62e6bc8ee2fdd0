"""Builds a checkpoint's calibration from items that training never saw, solved exactly as the service will."""

import torch
from torch import Tensor

from models.deceptron import Deceptron
from physics.problem import Problem
from solvers.plans import Preset, objective_for, plan_for, run_plan
from solvers.solve import Rules
from trust.calibration import Calibration
from trust.scores import EXACT_UP_TO, Observed, score
from trust.uncertainty import conformal_factor, modelled_std


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
    like = deceptron.x_scale
    observed = Observed.of(training[1])
    truth, observation = held_out[0].to(like), held_out[1].to(like)
    objective = objective_for(preset, problem, deceptron)
    plan = plan_for("auto", preset, problem.n)
    solution = run_plan(plan, objective, observation, problem.start, rules).solution
    scored = score(deceptron, objective.scale, problem.noise_std, observed, solution.x, solution.y, observation)
    if problem.n > EXACT_UP_TO:  # no error bars, and so nothing to scale
        return Calibration.of(scored.scores, observed, torch.empty(0, 0), torch.empty(0))
    covariance = torch.cov(training[0].double().T).reshape(problem.n, problem.n)
    std = modelled_std(scored, objective.scale, problem.noise_std, covariance)
    return Calibration.of(scored.scores, observed, covariance, conformal_factor(solution.x - truth, std))
