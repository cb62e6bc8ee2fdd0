"""From a recipe's name to a checkpoint on disk: data, start, stages, evaluation, calibration."""

import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import entry_points
from importlib.metadata import version as package_version
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import Manifest, read_manifest, save
from models.deceptron import Deceptron
from models.export import store_graphs
from models.registry import Registry
from physics.problem import Problem, load_problem
from solvers.export import export
from solvers.plans import rules_for
from training.data import Items, Split, draw, split_of
from training.evaluate import choose_refinements, evaluate
from training.recipes import RECIPES, Recipe
from training.start import prepare
from training.team import Device, Team, join_team
from training.trainer import ALONE, Trainer
from trust.calibrate import calibrate

BUDGETS = ("smoke", "full")
ENTRY_POINT_GROUP = "deceptron.recipes"
EXAMPLES = 6


class UnknownRecipe(LookupError):
    """No recipe of that name; the message lists them."""


def find_recipe(name: str, budget: str) -> Recipe:
    """A recipe at its full or smoke size: a shipped one, or one under the entry point group ``deceptron.recipes``.

    Raises:
        UnknownRecipe: nothing is registered under that name.
        TypeError: what is registered is not a Recipe.
    """
    if budget not in BUDGETS:
        raise ValueError(f"budget must be one of {', '.join(BUDGETS)}, not {budget!r}")
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in RECIPES and name not in registered:
        raise UnknownRecipe(f"no recipe named {name!r}; there are {', '.join(sorted({*RECIPES, *registered}))}")
    recipe = RECIPES[name] if name in RECIPES else registered[name].load()
    if not isinstance(recipe, Recipe):
        raise TypeError(f"{name!r} is registered as {registered[name].value}, which is not a Recipe")
    return recipe if budget == "full" else recipe.smoke()


def train(
    recipe: str | Recipe,
    out: Path,
    seeds: Sequence[int] = (0,),
    budget: str = "full",
    resume: bool = False,
    quiet: bool = False,
    version: int | None = None,
    device: Device = "cpu",
    graphs: bool = False,
) -> Path:
    """Trains once per seed and keeps the first seed's checkpoint; its manifest holds the metrics of all.

    Under torchrun all processes train together (training/team.py), and the first one judges and saves.

    Args:
        graphs: whether to write its graphs for ONNX Runtime as well, where they pay (solvers/export.py).

    Returns:
        The checkpoint's directory, ``out/NAME/VERSION``.
    """
    if not seeds:
        raise ValueError("training needs at least one seed")
    chosen = find_recipe(recipe, budget) if isinstance(recipe, str) else recipe
    if version is not None:
        chosen = replace(chosen, version=version)
    problem, team = load_problem(chosen.problem), join_team(device)
    training = split_of(problem, chosen, Split.TRAIN)
    spread: dict[str, dict[str, float]] = {}
    for seed in reversed(seeds):  # the first seed is trained last, so its checkpoint is the one that stays
        resume_file = out / chosen.name / f".resume-{budget}-{seed}.safetensors"
        deceptron = fit(problem, chosen, training, seed, resume_file, resume, quiet, team)
        if team.leads:
            _judge_and_save(problem, chosen, deceptron, training, out, seed, budget, quiet, spread)
        team.wait()
    if graphs and team.leads:
        export(Registry(out), chosen.name, chosen.version)
    return out / chosen.name / str(chosen.version)


def fit(
    problem: Problem,
    recipe: Recipe,
    training: Items,
    seed: int,
    resume_file: Path,
    resume: bool = False,
    quiet: bool = False,
    team: Team = ALONE,
) -> Deceptron:
    """One trained Deceptron on the CPU, nothing written but the resume file."""
    torch.manual_seed(seed)  # the layers' own initialisation takes no generator
    deceptron = Deceptron(recipe.config(problem), problem.forward)
    prepare(deceptron, problem, recipe, training)
    deceptron.to(team.device)
    Trainer(problem, recipe, deceptron, training, seed, resume_file, quiet, team).run(resume)
    return deceptron.requires_grad_(False).eval().cpu()


def _judge_and_save(
    problem: Problem,
    recipe: Recipe,
    deceptron: Deceptron,
    training: Items,
    out: Path,
    seed: int,
    budget: str,
    quiet: bool,
    spread: dict[str, dict[str, float]],
) -> None:
    """Judges and saves; adds its metrics to ``spread``, the manifest's ``metrics_of_seeds``."""
    validation, test, held_out = (
        split_of(problem, recipe, split) for split in (Split.VALIDATION, Split.TEST, Split.CALIBRATION)
    )
    refinements = choose_refinements(problem, deceptron, recipe.preset, validation)
    rules = rules_for(recipe.preset, problem.m, refinements)
    metrics = evaluate(problem, deceptron, recipe.preset, rules, training, validation, test)
    spread[str(seed)] = metrics
    moments, ranked = (training.x, training.y), (held_out.x, held_out.y)
    calibration = calibrate(problem, deceptron, recipe.preset, rules, moments, ranked)
    directory = save(
        out,
        _manifest(recipe, deceptron, seed, budget, refinements, spread),
        deceptron,
        {"calibration": calibration.tensors(), "examples": examples(problem, test)},
    )
    if quiet:
        return
    width = max(map(len, metrics))
    report = "\n".join(f"  {name:{width}s} {value:.6g}" for name, value in metrics.items())
    sys.stderr.write(f"{directory} (seed {seed}, budget {budget})\n{report}\n")


def recalibrate(name: str, root: Path, version: int | None = None) -> Path:
    """Ranks a checkpoint's calibration items again, after scores or solvers have changed; nothing is trained."""
    loaded = Registry(root).load(name, version)
    manifest, problem, deceptron = loaded.manifest, loaded.problem, loaded.deceptron
    data = manifest.data
    training = draw(problem, Split.TRAIN, data["train"], data["seed"])
    held_out = draw(problem, Split.CALIBRATION, data["calibration"], data["seed"])
    rules = rules_for(manifest.preset, problem.m, manifest.refinements)
    moments, ranked = (training.x, training.y), (held_out.x, held_out.y)
    calibration = calibrate(problem, deceptron, manifest.preset, rules, moments, ranked)
    unmeasured = manifest.model_copy(update={"limits": {}})
    directory = save(root, unmeasured, deceptron, {"calibration": calibration.tensors(), "examples": loaded.examples})
    if manifest.engine is not None:
        store_graphs(directory, read_manifest(directory), loaded.graphs, manifest.engine)
    return directory


def examples(problem: Problem, test: Items) -> dict[str, Tensor]:
    """A few test items for people to try: in range, one with five times the noise, one with stuck sensors."""
    x, y, clean = test.x[:EXAMPLES], test.y[:EXAMPLES].clone(), test.clean[:EXAMPLES]
    y[-2] = clean[-2] + 5.0 * (y[-2] - clean[-2])
    y[-1, problem.m // 2 :] = y[-1].abs().max()
    return {"unknowns": x.contiguous(), "observations": y.contiguous(), "kind": torch.tensor([0, 0, 0, 0, 1, 2])}


def _manifest(
    recipe: Recipe, deceptron: Deceptron, seed: int, budget: str, refinements: int, spread: dict[str, dict[str, float]]
) -> Manifest:
    return Manifest(
        format_version=1,
        name=recipe.name,
        version=recipe.version,
        problem=recipe.problem,
        preset=recipe.preset,
        architecture=deceptron.config,
        refinements=refinements,
        recipe=asdict(recipe),
        budget=budget,
        seed=seed,
        git_commit=git_commit(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"python": platform.python_version(), "torch": torch.__version__, "numpy": package_version("numpy")},
        data={
            "train": recipe.train_items,
            "validation": recipe.validation_items,
            "test": recipe.test_items,
            "calibration": recipe.calibration_items,
            "seed": recipe.data_seed,
        },
        metrics=spread[str(seed)],
        metrics_of_seeds=spread,
    )


def git_commit() -> str:
    """The checkout's commit, with + when it has uncommitted changes; unknown outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        run = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return run.stdout.strip() or "unknown"
