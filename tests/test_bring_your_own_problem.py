"""A problem of somebody else's, in a package of its own: registered, trained, inverted, served. We change nothing.

What the package holds is all that a new problem needs: one file with a `Problem`, one with a `Recipe`, one entry point.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import CheckpointError
from models.registry import Registry
from physics.problem import UnknownProblem, load_problem
from service.client import Client
from service.inference import Inference, SolveSpec
from tests.service.conftest import start_service, stop_service
from training.run import train

PROBLEM_FILE = '''
"""Radioactive decay: two half-lives mixed, seen through a counter. y(t) = a e^{-p t} + b e^{-q t}."""

import torch

from physics.constraints import Box
from physics.problem import Problem, Quantity

LOWER, UPPER = (0.5, 0.2, 0.5, 2.0), (2.0, 1.0, 2.0, 5.0)
TIMES = tuple(3.0 * i / 19 for i in range(20))


def activity(x: torch.Tensor) -> torch.Tensor:
    a, p, b, q = x.split(1, dim=1)
    t = torch.tensor(TIMES).to(x)
    return a * torch.exp(-p * t) + b * torch.exp(-q * t)


def sample(count: int, generator: torch.Generator) -> torch.Tensor:
    lower, upper = torch.tensor(LOWER, dtype=torch.float64), torch.tensor(UPPER, dtype=torch.float64)
    return lower + (upper - lower) * torch.rand(count, 4, generator=generator, dtype=torch.float64)


PROBLEM = Problem(
    name="decay",
    title="Two decaying isotopes from their joint activity",
    forward=activity,
    sample=sample,
    noise_std=0.002,
    constraint=Box(LOWER, UPPER),
    start=tuple((low + high) / 2 for low, high in zip(LOWER, UPPER)),
    scale=tuple(high - low for low, high in zip(LOWER, UPPER)),
    unknown=Quantity("isotopes", 4, components=("a", "p", "b", "q"), component_units=("Bq", "1/s", "Bq", "1/s")),
    observation=Quantity("activity", 20, "Bq", axis=TIMES, axis_label="time in s"),
    source="tests/test_bring_your_own_problem.py",
)
'''

RECIPE_FILE = """
from training.recipes import Recipe, Stage, Weights

RECIPE = Recipe(
    name="decay",
    version=1,
    problem="decay",
    preset="product",
    forward="physics",
    architecture="residual",
    hidden=(32, 32),
    activation="silu",
    stages=(Stage("solver", 300, Weights(reconstruction=1.0, contraction=0.02), ("g",), 5e-3, "cosine"),),
    start="regression",
    train_items=10_000,
    validation_items=100,
    test_items=100,
    calibration_items=200,
    batch_size=256,
)
"""

ENTRY_POINTS = "[deceptron.problems]\ndecay = decay_problem.physics:PROBLEM\n"
METADATA = "Metadata-Version: 2.1\nName: decay-problem\nVersion: 1.0\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package as pip would have installed it, on the path."""
    site = tmp_path_factory.mktemp("site-packages")
    (site / "decay_problem").mkdir()
    (site / "decay_problem" / "__init__.py").write_text("")
    (site / "decay_problem" / "physics.py").write_text(PROBLEM_FILE)
    (site / "decay_problem" / "recipe.py").write_text(RECIPE_FILE)
    (site / "decay_problem-1.0.dist-info").mkdir()
    (site / "decay_problem-1.0.dist-info" / "METADATA").write_text(METADATA)
    (site / "decay_problem-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield site


@pytest.fixture(scope="module")
def checkpoints(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the one checkpoint, trained here and now."""
    recipe = importlib.import_module("decay_problem.recipe").RECIPE
    out = tmp_path_factory.mktemp("checkpoints")
    assert train(recipe, out, quiet=True) == out / "decay" / "1"
    return out


def measured(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """(x, y): truths, and what a counter shows of them; NumPy's exponentials and NumPy's noise."""
    generator = np.random.default_rng(7)
    x = generator.uniform((0.5, 0.2, 0.5, 2.0), (2.0, 1.0, 2.0, 5.0), (count, 4))
    a, p, b, q = (column[:, None] for column in x.T)
    t = np.linspace(0.0, 3.0, 20)
    return x, a * np.exp(-p * t) + b * np.exp(-q * t) + generator.normal(0.0, 0.002, (count, 20))


def close(found: np.ndarray, truth: np.ndarray) -> bool:
    """Two exponentials are hard to tell apart: the median error, in units of the ranges."""
    error = np.abs(found - truth) / np.array([1.5, 0.8, 1.5, 3.0])
    return bool(np.median(error) < 0.02 and error.max() < 0.5)


def test_is_found_by_its_entry_point(package: Path) -> None:
    problem = load_problem("decay")
    assert (problem.n, problem.m, problem.title) == (4, 20, "Two decaying isotopes from their joint activity")


def test_training_makes_a_useful_inverse(checkpoints: Path) -> None:
    metrics = Registry(checkpoints).manifest("decay").metrics
    assert metrics["auto_at_noise_level"] > 0.97
    assert metrics["oneshot_x_rmse"] < metrics["linear_mmse_x_rmse"] < metrics["prior_mean_x_rmse"]


def test_is_inverted_in_process(checkpoints: Path) -> None:
    truth, y = measured()
    inference = Inference(checkpoints, device="cpu")
    spec = SolveSpec("decay", 1, ("auto", "lm"))
    inference.check(spec, y.shape[1])
    for answer in inference.solve(spec, y):
        assert {item["status"] for item in answer.items} == {"converged"}
        assert close(answer.x, truth)
        verdicts = [item["diagnostics"]["verdict"] for item in answer.items]
        assert verdicts.count("in_range") >= 0.85 * len(verdicts)
    card = inference.card("decay")
    assert list(card["unknown"]["components"]) == ["a", "p", "b", "q"]
    assert card["problem"] == "decay"


@pytest.mark.slow
def test_is_served(checkpoints: Path, package: Path, tmp_path: Path) -> None:
    truth, y = measured()
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    settings = {"PYTHONPATH": path, "DECEPTRON_CHECKPOINTS": str(checkpoints)}
    service = start_service(tmp_path, "--workers", "1", **settings)
    try:
        with Client(service.url, progress=False) as client:
            assert [model["name"] for model in client.models()] == ["decay"]
            result = client.invert("decay", y)
    finally:
        stop_service(service)
    assert {item.status for item in result.items} == {"converged"}
    assert close(result.x, truth)


def test_is_refused_clearly_where_the_package_is_missing(checkpoints: Path) -> None:
    """The checkpoint travels, the package does not: the error says what to install."""
    code = """if True:
        import sys
        from pathlib import Path
        from models.registry import Registry
        Registry(Path(sys.argv[1])).load("decay")
    """
    ran = subprocess.run([sys.executable, "-c", code, str(checkpoints)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(f"{CheckpointError.__module__}.CheckpointError: ")
    assert "no problem named 'decay'; known are" in ran.stderr
    assert "install the package that has it" in ran.stderr
    assert not issubclass(UnknownProblem, CheckpointError)
