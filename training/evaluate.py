"""The figures in a manifest: how good f, g and the solver are on test items that training never saw."""

from torch import Tensor

from models.composition import Composition, error_from_resolution
from models.deceptron import Deceptron
from physics.problem import Problem
from solvers.plans import Preset, noise_level, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Status
from training.data import Items, LinearEstimator


def evaluate(
    problem: Problem, deceptron: Deceptron, preset: Preset, training: Items, validation: Items, test: Items
) -> dict[str, float]:
    """Metrics of a checkpoint.

    forward_rmse_over_noise (f against the noiseless physics, on validation items); for the methods oneshot, dipg
    and auto under the preset: success, iterations (median), x_rmse, at_noise_level (against the true physics);
    x_rmse of the linear MMSE estimator fitted on the training items and of the prior mean; rjcp (median, exact, at the
    solution).
    """
    like = deceptron.x_scale
    x, observation = test.x.to(like), test.y.to(like)
    objective = objective_for(preset, problem, deceptron)
    rules = rules_for(preset, problem.m)
    metrics = {
        "forward_rmse_over_noise": _rmse(deceptron.f(validation.x.to(like)), validation.clean) / problem.noise_std
    }
    for method in ("oneshot", "dipg", "auto"):
        plan = plan_for(method, preset, problem.n)
        solution = run_plan(plan, objective, observation, problem.start, rules).solution
        metrics |= {
            f"{method}_success": (solution.status == Status.CONVERGED).double().mean().item(),
            f"{method}_iterations_median": solution.iterations.double().median().item(),
            f"{method}_x_rmse": _rmse(solution.x, x),
            f"{method}_at_noise_level": at_noise_level(problem, solution.x, test.y).double().mean().item(),
        }
    composition = Composition(deceptron.f, deceptron.g, objective.scale)
    metrics["rjcp_median"] = error_from_resolution(composition.resolution(solution.x[:200])).median().item()
    metrics["linear_mmse_x_rmse"] = _rmse(LinearEstimator.fit(training)(test.y), test.x)
    metrics["prior_mean_x_rmse"] = _rmse(training.x.mean(0).expand_as(test.x), test.x)
    return metrics


def at_noise_level(problem: Problem, x: Tensor, observation: Tensor) -> Tensor:
    """Which reconstructions (B, n) explain their observations (B, m) to the noise, by the true physics: (B,) bool."""
    residual = problem.forward(x.double()) - observation.double()
    return residual.square().mean(1).sqrt() / problem.noise_std <= noise_level(problem.m)


def _rmse(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double()).square().mean().sqrt().item()
