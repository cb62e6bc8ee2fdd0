"""``deceptron bench paper``: the published protocol, beside what the published tables leave out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from benchmarks.charts import residual_figure
from benchmarks.goals import Goal, at_least
from benchmarks.measure import Measured, estimate, first, held_out_items, joined, measure, quartiles, rmse
from benchmarks.report import Report
from benchmarks.setup import Setup, one_thread
from benchmarks.steps import OWN, Cost, best, step_table
from benchmarks.timing import trace
from models.registry import LoadedModel
from solvers.gradient import FixedStepGradient
from solvers.plans import Stage, Start, objective_for, rules_for, run_plan
from solvers.solve import Status
from training.data import Items, LinearEstimator, Split, draw
from training.evaluate import at_noise_level

ITERATING = ("dipg", "gn", "lm", "gd", "lbfgs")
METHODS = (*ITERATING, "oneshot")
STEP_RATIO, SOLVE_RATIO, GRADIENT_ITERATIONS = 7, 11, 40
WHY_TWO = (
    "An exact step needs a third iteration where the first residual exceeds 0.833, which is so for about half of the "
    "items (column *needs 3 or more*); over the 20 items of the published notebook 2 or 3 is a coin toss."
)
WHY_STEP = (
    "Alone, a step is calls of PyTorch rather than arithmetic: f and g are a sixth of D-IPG's, and the rival's J "
    "comes in closed form."
)
WHY_FAILED = (
    "The published curve ends at the projection of g(y*), and where that misses the tolerance it stalls; x-GD ends by "
    "the published rule against crawling."
)


@dataclass(frozen=True)
class Published:
    """Median iterations and success of arXiv 2511.21076, by method; None where it gives none."""

    iterations: dict[str, str]
    success: dict[str, str]


PUBLISHED = {
    "heat1d-paper": Published({"dipg": "3 [2, 3]", "gn": "3 [2, 3]", "lm": "3 [2, 3]", "gd": "49 [38.2, 80]"}, {}),
    "oscillator-paper": Published(
        {"dipg": "28", "gn": "16.5", "lm": "16.5", "gd": "65"}, {"dipg": ".45", "gn": ".50", "lm": ".50", "gd": ".50"}
    ),
}


@one_thread()
def run(setup: Setup) -> Report:
    """Both problems under the preset ``paper``."""
    report = Report("paper", setup.command("paper"))
    report.text(
        "Preset `paper`: learned linear f, eps = 0.30 in z-scored y, rho = 0.4, cap 200, published start. Iterations "
        "are median [quartiles] over all items of all repeats, failures too. At rho = 0.4 any exact step multiplies "
        "the residual by 0.6, so an item needs three iterations when its first residual exceeds 0.3 / 0.36 = 0.833."
    )
    for name, published in PUBLISHED.items():
        _one_problem(setup, report, setup.registry.load(name), published)
    return report


def _one_problem(setup: Setup, report: Report, loaded: LoadedModel, published: Published) -> None:
    name, seed = loaded.manifest.name, loaded.manifest.data["seed"]
    heat = loaded.problem.name == "heat1d"
    report.protocol(name, rules_for("paper", loaded.problem.m))
    draws = [held_out_items(loaded.problem, setup.items, seed, repeat) for repeat in range(setup.repeats)]
    found = {method: [measure(loaded, "paper", method, items) for items in draws] for method in METHODS}
    rows = [_row(report, loaded, measured, draws, published) for measured in found.values()]
    if heat:
        rows.append(_row(report, loaded, [_scaled_gradient(loaded, items) for items in draws], draws, published))
    linear = LinearEstimator.fit(draw(loaded.problem, Split.TRAIN, loaded.manifest.data["train"], seed))
    for label, guess in (("linear MMSE", None), ("prior mean", linear.prior_mean)):
        estimates = [
            estimate(loaded.problem, label, linear(items.y) if guess is None else guess.expand_as(items.x), items)
            for items in draws
        ]
        rows.append(_row(report, loaded, estimates, draws, published))
    columns = ["method", "iterations", "published", "success", "published", "needs 3 or more", "x-RMSE"]
    report.table(f"{name}, {len(draws)} x {len(draws[0].x)} items", [*columns, "at noise level"], rows)
    if heat:
        costs = step_table(report, loaded, "paper", joined(draws), setup.budget_s)
        report.goals += _count_goals(found) + _cost_goals(costs)
    traces = [trace(loaded, "paper", method, first(draws[0], 256)) for method in ITERATING]
    report.figure(residual_figure(f"{name}-residual.png", name, traces))


def _count_goals(found: Mapping[str, Sequence[Measured]]) -> list[Goal]:
    """Iterations and success on Heat-1D."""
    counts = {method: quartiles(torch.cat([one.iterations for one in found[method]])) for method in ITERATING}
    low, middle, high = counts[OWN]
    success = [torch.cat([one.converged for one in found[m]]).double().mean().item() for m in ITERATING]
    newton = [counts[method][1] for method in ("gn", "lm")]
    return [
        Goal(
            "Heat-1D: D-IPG's iterations, median [quartiles]",
            "3, within [2, 3]",
            f"{middle:g} [{low:g}, {high:g}]",
            middle == 3 and low >= 2 and high <= 3,
            WHY_TWO,
        ),
        Goal("Heat-1D: GN's and LM's median", "3", ", ".join(f"{n:g}" for n in newton), newton == [3, 3], WHY_TWO),
        at_least("Heat-1D: x-GD's median", GRADIENT_ITERATIONS, [counts["gd"][1]]),
        at_least(f"Heat-1D: success of {', '.join(ITERATING)}", 1.0, success, WHY_FAILED),
    ]


def _cost_goals(costs: dict[str, Cost]) -> list[Goal]:
    own, rival = costs[OWN], best(costs)
    goals = []
    for batch, price in own.step.items():
        figure = f"Heat-1D: a step of our best GN or LM over D-IPG's, batch {batch}"
        goals.append(at_least(figure, STEP_RATIO, [rival.step[batch] / price], WHY_STEP))
    for batch, price in own.whole.items():
        figure = f"Heat-1D: a solve of our best GN or LM over D-IPG's, batch {batch}"
        goals.append(at_least(figure, SOLVE_RATIO, [rival.whole[batch] / price], _why_dear(own, rival, batch)))
    return goals


def _why_dear(own: Cost, rival: Cost, batch: int) -> str:
    """What a solve costs beyond its steps, in steps."""
    steps, rival_steps = (cost.whole[batch] / cost.step[batch] for cost in (own, rival))
    return (
        f"D-IPG's solve costs {steps:.1f} of its own steps, the rival's {rival_steps:.1f}: the same number of "
        "iterations, and around them a start, a last look and stragglers, which weigh more beside a cheap step "
        f"(medians: {rival.median[batch] / own.median[batch]:.1f} times; batch {max(own.whole)} without stragglers: "
        f"{rival.unheld / own.unheld:.1f})."
    )


def _row(
    report: Report, loaded: LoadedModel, measured: list[Measured], draws: list[Items], published: Published
) -> list[str]:
    for repeat, one in enumerate(measured):
        report.keep(loaded.manifest.name, repeat, one, draws[repeat])
    name = measured[0].method
    iterations = torch.cat([one.iterations for one in measured])
    low, middle, high = quartiles(iterations)
    iterates = name not in ("oneshot", "linear MMSE", "prior mean")
    success = torch.cat([one.converged for one in measured]).double().mean().item()
    reached = torch.cat([one.at_noise_level for one in measured]).double().mean().item()
    error = rmse(torch.cat([one.x for one in measured]), torch.cat([items.x for items in draws]))
    return [
        name,
        f"{middle:g} [{low:g}, {high:g}]" if iterates else "-",
        published.iterations.get(name, "-"),
        f"{success:.3f}" if name not in ("linear MMSE", "prior mean") else "-",
        published.success.get(name, "-"),
        f"{(iterations >= 3).double().mean().item():.3f}" if iterates else "-",
        f"{error:.4f}",
        f"{reached:.3f}",
    ]


def _scaled_gradient(loaded: LoadedModel, items: Items) -> Measured:
    """x-GD with the step that the sum's misfit would give: 64 on the mean's. The published 1 is a 64th of it."""
    problem = loaded.problem
    objective = objective_for("paper", problem, loaded.deceptron)
    plan = (Stage("gd", FixedStepGradient(float(problem.m)), Start.PRIOR),)
    rules = rules_for("paper", problem.m)
    solution = run_plan(plan, objective, items.y.to(objective.scale), problem.start, rules).solution
    return Measured(
        f"gd, step {problem.m}",
        solution.x,
        solution.status == Status.CONVERGED,
        at_noise_level(problem, solution.x, items.y),
        solution.iterations,
        float("nan"),
    )
