"""From a recipe to a checkpoint: what is written, that it can be repeated, and that every shipped recipe runs."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from models.checkpoint import EngineRecord, Manifest, read_manifest
from models.export import store_graphs
from models.registry import LoadedModel, Registry
from physics.problem import PROBLEMS, load_problem
from service.cli import cli
from solvers.plans import rules_for
from tests.training.tiny import recipe
from training import run as run_module
from training.data import Split, split_of
from training.evaluate import evaluate
from training.recipes import RECIPES, Recipe
from training.run import UnknownRecipe, find_recipe, recalibrate, train
from trust import calibrate
from trust.calibration import Calibration
from trust.scores import SCORES


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBLEMS, "tiny", "tests.training.tiny:PROBLEM")


def run(out: Path, chosen: Recipe, *seeds: int) -> LoadedModel:
    directory = train(chosen, out, seeds, "smoke", quiet=True)
    assert directory == out / chosen.name / str(chosen.version)
    return Registry(out).load(chosen.name)


@pytest.mark.parametrize("forward", ["surrogate", "physics"])
def test_writes_down_what_was_done(tmp_path: Path, forward: str) -> None:
    stages = recipe().stages if forward == "surrogate" else recipe().stages[1:]
    chosen = recipe(forward=forward, stages=stages)
    loaded = run(tmp_path, chosen, 3)
    manifest = loaded.manifest
    assert (manifest.name, manifest.version, manifest.problem, manifest.preset) == ("tiny", 1, "tiny", "product")
    assert (manifest.seed, manifest.budget) == (3, "smoke")
    assert manifest.architecture == chosen.config(loaded.problem)
    assert manifest.recipe == json.loads(json.dumps(asdict(chosen)))
    assert manifest.data == {"train": 100, "validation": 60, "test": 60, "calibration": 120, "seed": 5}
    assert manifest.git_commit != ""
    assert manifest.versions.keys() == {"python", "torch", "numpy"}
    assert set(manifest.files) == {f"{stem}.safetensors" for stem in ("model", "calibration", "examples")}
    files = {path.name for path in (tmp_path / "tiny").rglob("*") if path.is_file()}
    assert files == {*manifest.files, "manifest.json"}, "and no resume file is left"
    assert (manifest.metrics["forward_rmse_over_noise"] < 1e-4) == (forward == "physics")


def test_what_is_stored_can_be_used(tmp_path: Path) -> None:
    loaded = run(tmp_path, recipe(), 0)
    calibration = Calibration.from_tensors(loaded.calibration)
    assert calibration.scores.shape == (120, len(SCORES))
    assert calibration.interval_factor.isfinite().all()
    assert loaded.examples["unknowns"].shape == (6, 3)
    assert loaded.examples["observations"].shape == (6, 4)
    test = split_of(loaded.problem, recipe(), Split.TEST)
    assert torch.equal(loaded.examples["observations"][:4], test.y[:4])
    assert torch.equal(loaded.examples["unknowns"], test.x[:6])


def test_the_metrics_are_those_of_the_stored_model(tmp_path: Path) -> None:
    loaded = run(tmp_path, recipe(), 0)
    parts = [split_of(loaded.problem, recipe(), split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)]
    rules = rules_for("product", loaded.problem.m, loaded.manifest.refinements)
    again = evaluate(loaded.problem, loaded.deceptron, "product", rules, *parts)
    assert again == pytest.approx(loaded.manifest.metrics, rel=1e-6)


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    first, again, other = (run(tmp_path / str(i), recipe(), seed).manifest for i, seed in enumerate((1, 1, 2)))
    assert again.metrics == first.metrics
    assert again.files == first.files
    assert other.metrics != first.metrics


def test_several_seeds_keep_the_firsts_checkpoint(tmp_path: Path) -> None:
    several, alone = run(tmp_path / "a", recipe(), 4, 2, 9).manifest, run(tmp_path / "b", recipe(), 4).manifest
    assert several.seed == 4
    assert several.files == alone.files
    assert set(several.metrics_of_seeds) == {"4", "2", "9"}
    assert several.metrics_of_seeds["4"] == several.metrics == alone.metrics
    assert several.metrics_of_seeds["2"] != several.metrics


def test_training_makes_it_better(tmp_path: Path) -> None:
    """Longer than a moment, and D-IPG on the learned pair explains what g alone does not."""
    stages = tuple(replace(stage, batches=150, learning_rate=1e-2) for stage in recipe().stages)
    metrics = run(tmp_path, recipe(stages=stages, train_items=2000), 0).manifest.metrics
    untrained = run(tmp_path / "b", recipe(stages=()), 0).manifest.metrics
    assert metrics["forward_rmse_over_noise"] < 0.7 * untrained["forward_rmse_over_noise"]
    assert metrics["oneshot_x_rmse"] < untrained["oneshot_x_rmse"]
    assert metrics["oneshot_x_rmse"] < metrics["linear_mmse_x_rmse"] < metrics["prior_mean_x_rmse"]


def test_unknown_recipes_and_budgets(tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match=r"no recipe named 'heat'; there are .*heat1d-paper"):
        train("heat", tmp_path)
    with pytest.raises(ValueError, match="budget must be one of smoke, full, not 'huge'"):
        train("heat1d", tmp_path, budget="huge")
    with pytest.raises(ValueError, match="at least one seed"):
        train(recipe(), tmp_path, seeds=())


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_sound(name: str) -> None:
    chosen = RECIPES[name]
    assert chosen.name == name
    config = chosen.config(load_problem(chosen.problem))
    assert all(set(stage.sides) <= ({"g"} if config.forward == "physics" else {"f", "g"}) for stage in chosen.stages)
    assert chosen.calibration_items >= 1000
    smoke = find_recipe(name, "smoke")
    assert max(stage.batches for stage in smoke.stages) <= 60
    assert smoke.train_items <= 5000
    sizes = {f"{split}_items": 0 for split in ("train", "validation", "test", "calibration")}
    assert replace(chosen, stages=smoke.stages, **sizes) == replace(smoke, **sizes)  # type: ignore[arg-type]


def test_the_papers_recipes_are_the_papers() -> None:
    """Section 2: one linear layer, 5000/500/500, 60 epochs of batch 128, Adam 5e-4, clip 0.5, its weights."""
    for name, n in (("heat1d-paper", 64), ("oscillator-paper", 5)):
        chosen = RECIPES[name]
        (stage,) = chosen.stages
        assert (chosen.architecture, chosen.activation, chosen.start) == ("layer", "identity", "pseudoinverse")
        assert (chosen.train_items, chosen.validation_items, chosen.test_items) == (5000, 500, 500)
        assert stage.batches // (5000 // 128) in (60, 61)
        assert (stage.learning_rate, chosen.gradient_clip, stage.jcp_ramp) == (5e-4, 0.5, (0.2, 0.8))
        assert (stage.weights.task, stage.weights.reconstruction, stage.weights.cycle) == (1.0, 0.1, 0.05)
        assert stage.weights.jcp == pytest.approx(1e-3 * n)


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_runs_at_smoke_size(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "FACTOR_ITEMS", 20)  # error bars by draws take a while
    manifest: Manifest = Registry(train(name, tmp_path, budget="smoke", quiet=True).parents[1]).load(name).manifest
    assert (manifest.name, manifest.budget, manifest.seed) == (name, "smoke", 0)
    assert manifest.recipe["name"] == name
    assert manifest.data["train"] <= 5000
    assert all(torch.tensor(value).isfinite() for value in manifest.metrics.values())


def test_recalibration_finds_what_training_found(tmp_path: Path) -> None:
    loaded = run(tmp_path, recipe(), 0)
    again = recalibrate(loaded.manifest.name, tmp_path)
    assert read_manifest(again) == loaded.manifest
    said = CliRunner().invoke(cli, ["recalibrate", loaded.manifest.name], env={"DECEPTRON_CHECKPOINTS": str(tmp_path)})
    assert said.output == f"checkpoint: {again}\n"
    assert read_manifest(again) == loaded.manifest


def test_recalibration_keeps_the_graphs(tmp_path: Path) -> None:
    loaded = run(tmp_path, recipe(), 0)
    directory = Registry(tmp_path).directory(loaded.manifest.name)
    measured = EngineRecord(default="torch", speedup={"g/1": 0.5}, left_out={})
    store_graphs(directory, loaded.manifest, {"g": b"a graph"}, measured)
    recalibrate(loaded.manifest.name, tmp_path)
    again = Registry(tmp_path).load(loaded.manifest.name)
    assert (again.graphs, again.manifest.engine) == ({"g": b"a graph"}, measured)


@pytest.mark.parametrize("asked", [True, False])
def test_training_exports_what_it_trained_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    exported = list[tuple[Path, str, int]]()
    monkeypatch.setattr(
        run_module, "export", lambda registry, name, version: exported.append((registry.root, name, version))
    )
    chosen = recipe()
    train(chosen, tmp_path, quiet=True, graphs=asked)
    assert exported == ([(tmp_path, chosen.name, chosen.version)] if asked else [])
