"""``deceptron bench ablation``: the paper's Heat-1D, one thing changed at a time, published directions judged."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from tqdm import tqdm

from benchmarks.charts import Figure, Panel, Series
from benchmarks.directions import (
    BASE,
    COVARIANCE,
    NO_CYCLE,
    NO_JCP,
    SWAPPED,
    TIED,
    Outcomes,
    ablation_goals,
    layer_claims,
    layers_name,
    step_claims,
    step_name,
    training_claims,
)
from benchmarks.measure import held_out_items, quartiles
from benchmarks.report import Report, significant_spread, spread
from benchmarks.setup import Setup, one_thread
from benchmarks.variants import Outcome, Variant, assessed, column, reweighted, tied_copy, trained
from models.deceptron import Deceptron
from physics.problem import Problem, load_problem
from solvers.dipg import DIPG
from solvers.plans import PAPER_CAP, PAPER_RELAXATION, rules_for
from training.data import Items, Split, split_of
from training.recipes import RECIPES, Recipe

RELAXATIONS = (0.2, 0.4, 0.7, 1.0)
COLUMNS = [
    "variant",
    "composition error (sum)",
    "(mean)",
    "(mean, directions that occur)",
    "iterations",
    "mean",
    f"mean, failed as {PAPER_CAP}",
    "acceptance",
    "x-RMSE",
    "success",
]


@one_thread()
def run(setup: Setup) -> Report:
    """Trains every variant once per repeat (the repeat is the seed) and solves the same held-out items with each."""
    recipe = _shortened(RECIPES["heat1d-paper"]) if setup.quick else RECIPES["heat1d-paper"]
    problem = load_problem(recipe.problem)
    items = held_out_items(problem, setup.items, recipe.data_seed, 0)
    report = Report("ablation", setup.command("ablation"))
    report.protocol(recipe.name, rules_for("paper", problem.m))
    report.text(
        f"`{recipe.name}`, retrained for every row by its recipe with one thing changed; {setup.repeats} seeds, "
        f"{setup.items} held-out items, preset `paper` throughout. Iterations: median [quartiles] over the items of "
        "all seeds, as they ended; other figures: median of the seeds (their range). Acceptance: accepted steps over "
        "trial points. *Directions that occur*: probes drawn from the covariance of x instead of all of R^64."
    )
    trainings, stacks = losses_and_probes(recipe), depths(recipe)
    models = _train_all(problem, [*trainings, *stacks], recipe, setup.repeats)
    models[SWAPPED] = [tied_copy(one) for one in models[BASE]]
    solved = {
        name: [assessed(problem, one, items, DIPG(anchored=False), PAPER_RELAXATION) for one in seeds]
        for name, seeds in models.items()
    }
    steps = _steps(problem, models[BASE], items)
    for name, outcomes in (solved | steps).items():
        _keep(report, name, outcomes)
    deep = {variant.name: solved.pop(variant.name) for variant in stacks}
    report.goals += ablation_goals(solved)
    _section(report, "Losses, ties and probes", training_claims(solved), solved)
    _section(report, "The step, on the same weights", step_claims(steps), steps)
    _section(report, "Layers", layer_claims(deep), deep)
    report.figure(_figure(solved | deep))
    return report


def _figure(solved: Outcomes) -> Figure:
    """Composition error and iterations of every training, as dots with the range of the seeds."""

    def panel(title: str, label: str, figure: str) -> Panel:
        series = []
        for name, outcomes in solved.items():
            ordered = sorted(column(outcomes, figure))
            series.append(Series(name, (ordered[len(ordered) // 2],), (), (ordered[0],), (ordered[-1],)))
        return Panel("dots", title, label, "", tuple(series), "x")

    return Figure(
        "ablation.png",
        "What each change to the training does to the composition error, and to the iterations when a failed item "
        f"counts as {PAPER_CAP}: median of the seeds, their range as a bar.",
        (
            panel("composition", "composition error (sum)", "composition_sum"),
            panel("iterations", f"mean iterations, failed as {PAPER_CAP}", "capped_iterations"),
        ),
    )


def _shortened(recipe: Recipe) -> Recipe:
    stages = tuple(replace(stage, batches=3) for stage in recipe.stages)
    return replace(recipe, stages=stages, train_items=500)


def losses_and_probes(recipe: Recipe) -> list[Variant]:
    """The published recipe, and what it becomes without one of its parts or with other probes."""
    return [
        Variant(BASE, recipe),
        Variant(NO_JCP, reweighted(recipe, jcp=0.0)),
        Variant(TIED, recipe, tied=True),
        Variant(NO_CYCLE, reweighted(recipe, reconstruction=0.0, cycle=0.0)),
        Variant("Rademacher probes", replace(recipe, probes="rademacher")),
        Variant(COVARIANCE, replace(recipe, probes="covariance")),
    ]


def depths(recipe: Recipe) -> list[Variant]:
    """One to three layers of LeakyReLU with its mirror, from a random start: the ridge start is for one layer."""
    stack = replace(recipe, architecture="stack", activation="leaky_relu")
    return [Variant(layers_name(len(hidden) + 1), replace(stack, hidden=hidden)) for hidden in ((), (64,), (64, 64))]


def _train_all(problem: Problem, variants: Sequence[Variant], recipe: Recipe, seeds: int) -> dict[str, list[Deceptron]]:
    training = split_of(problem, recipe, Split.TRAIN)
    models: dict[str, list[Deceptron]] = {variant.name: [] for variant in variants}
    with tqdm(total=len(variants) * seeds, desc="ablation", mininterval=1.0) as bar:
        for variant in variants:
            for seed in range(seeds):
                bar.set_postfix_str(f"{variant.name}, seed {seed}")
                models[variant.name].append(trained(problem, variant, training, seed))
                bar.update()
    return models


def _steps(problem: Problem, models: Sequence[Deceptron], items: Items) -> Outcomes:
    out: Outcomes = {}
    for anchored in (False, True):
        for relaxation in RELAXATIONS:
            out[step_name(anchored, relaxation)] = [
                assessed(problem, one, items, DIPG(anchored=anchored), relaxation) for one in models
            ]
    return out


def _section(report: Report, title: str, claims: Sequence[str], outcomes: Outcomes) -> None:
    report.text(f"**{title}.**\n\n" + "\n".join(f"- {claim}" for claim in claims))
    report.table(title, COLUMNS, [_row(name, seeds) for name, seeds in outcomes.items()])


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    low, middle, high = quartiles(torch.cat([outcome.iterations for outcome in outcomes]))
    return [
        name,
        significant_spread(column(outcomes, "composition_sum")),
        significant_spread(column(outcomes, "composition")),
        significant_spread(column(outcomes, "occurring")),
        f"{middle:g} [{low:g}, {high:g}]",
        significant_spread(column(outcomes, "mean_iterations")),
        significant_spread(column(outcomes, "capped_iterations")),
        spread(column(outcomes, "acceptance")),
        spread(column(outcomes, "x_rmse")),
        spread(column(outcomes, "success")),
    ]


def _keep(report: Report, name: str, outcomes: Sequence[Outcome]) -> None:
    for seed, one in enumerate(outcomes):
        figures = ("composition_sum", "composition", "occurring", "acceptance", "x_rmse")
        report.keep_rows(
            variant=name,
            seed=seed,
            dtype="float32",
            iterations=one.iterations,
            converged=one.converged,
            **{figure: getattr(one, figure) for figure in figures},
        )
