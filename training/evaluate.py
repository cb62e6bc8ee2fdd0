"""The figures in a manifest: how good f, g and the solver are on test items that training never saw."""

from torch import Tensor

from models.deceptron import Deceptron
from physics.problem import Problem
from solvers.plans import Preset, noise_level, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Rules, Solution, Status
from training.data import Items, LinearEstimator
from trust.jacobians import Inspector

MOST_REFINEMENTS = 3
RJCP_ITEMS = 200


def evaluate(
    problem: Problem,
    deceptron: Deceptron,
    preset: Preset,
    rules: Rules,
    training: Items,
    validation: Items,
    test: Items,
) -> dict[str, float]:
    """Metrics of a checkpoint.

    forward_rmse_over_noise (f against the noiseless physics, on validation items); for the methods oneshot, dipg
    and auto under the preset: success, iterations (median), x_rmse, at_noise_level (against the true physics), and the
    median errors of what is identifiable; rjcp (median, at the solution of auto);
    x_rmse of the linear MMSE estimator fitted on the training items and of the prior mean.
    """
    like = deceptron.x_scale
    observation = test.y.to(like)
    objective = objective_for(preset, problem, deceptron)
    metrics = {
        "forward_rmse_over_noise": _rmse(deceptron.f(validation.x.to(like)), validation.clean) / problem.noise_std
    }
    for method in ("oneshot", "dipg", "auto"):
        plan = plan_for(method, preset, problem.n)
        solution = run_plan(plan, objective, observation, problem.start, rules).solution
        metrics |= {f"{method}_{name}": value for name, value in _figures(problem, solution, test).items()}
    inspector = Inspector(deceptron.f, deceptron.g, objective.scale, deceptron.y_scale)
    metrics["rjcp_median"] = inspector.published(solution.x[:RJCP_ITEMS]).median().item()
    metrics["linear_mmse_x_rmse"] = _rmse(LinearEstimator.fit(training)(test.y), test.x)
    metrics["prior_mean_x_rmse"] = _rmse(training.x.mean(0).expand_as(test.x), test.x)
    return metrics


def _figures(problem: Problem, solution: Solution, test: Items) -> dict[str, float]:
    figures = {
        "success": (solution.status == Status.CONVERGED).double().mean().item(),
        "iterations_median": solution.iterations.double().median().item(),
        "x_rmse": _rmse(solution.x, test.x),
        "at_noise_level": at_noise_level(problem, solution.x, test.y).double().mean().item(),
    }
    if problem.identifiable is None:
        return figures
    errors = median_errors(problem, solution.x, test.x).tolist()
    names = problem.identifiable.names
    return figures | {f"median_error_{name}": error for name, error in zip(names, errors, strict=True)}


def at_noise_level(problem: Problem, x: Tensor, observation: Tensor) -> Tensor:
    """Which reconstructions (B, n) explain their observations (B, m) to the noise, by the true physics: (B,) bool."""
    residual = problem.forward(x.double()) - observation.double()
    return residual.square().mean(1).sqrt() / problem.noise_std <= noise_level(problem.m)


def median_errors(problem: Problem, x: Tensor, truth: Tensor) -> Tensor:
    """Median absolute error of each identifiable quantity, or of each unknown where all are: (q,), float64."""
    of = problem.identifiable.of if problem.identifiable is not None else _all
    return (of(x.double()) - of(truth.double())).abs().median(0).values


def choose_refinements(problem: Problem, deceptron: Deceptron, preset: Preset, validation: Items) -> int:
    """How many iterations beyond the noise level pay, by the error in x on validation items.

    A well-posed problem has more to give than the noise level asks for; an ill-posed one fits noise from there on. The
    fewest refinements within 2 % of the best, the mean over quantities of their median errors relative to none.
    """
    if preset == "paper":
        return 0
    objective = objective_for(preset, problem, deceptron)
    plan, observation = plan_for("dipg", preset, problem.n), validation.y.to(deceptron.x_scale)
    errors = []
    for refinements in range(MOST_REFINEMENTS + 1):
        rules = rules_for(preset, problem.m, refinements)
        x = run_plan(plan, objective, observation, problem.start, rules).solution.x
        errors.append(median_errors(problem, x, validation.x))
    matters = errors[0] > 0
    relative = [(error[matters] / errors[0][matters]).mean().item() for error in errors]
    return next(k for k, value in enumerate(relative) if value <= 1.02 * min(relative))


def _all(x: Tensor) -> Tensor:
    return x


def _rmse(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double()).square().mean().sqrt().item()
