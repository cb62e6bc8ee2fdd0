"""docs/your-own-problem.md, run as it is printed: somebody else's problem is made, trained, served and inverted."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.registry import Registry
from service.cli.new_problem import write_package
from service.client import Client
from tests.blocks import Block, blocks_of
from tests.service.conftest import MAX_WAIT_S, WAIT, Service, start_service, stop_service

PAGE = "docs/your-own-problem.md"
BIN = Path(sys.executable).parent
SERVE = "deceptron serve"
STEP_S = 500.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass
class Walk:
    """A reader's folder: what was run in it, what that printed, and the service that was started on the way."""

    folder: Path
    site: Path
    service: Service | None = None
    printed: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """pip installs into a folder of the walk's own, offline, and Python finds it there."""
        pip = {"PIP_TARGET": str(self.site), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
        path = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(self.site)}
        return {
            **os.environ,
            **pip,
            **path,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }

    def follow(self, block: Block) -> None:
        """Does what a reader would do with a block."""
        text = block.text.replace("http://127.0.0.1:8000", self.service.url if self.service else "")
        if block.file:
            (self.folder / block.file).write_text(text)
        elif SERVE in text:
            self.serve(text)
        else:
            self.run(text)

    def run(self, commands: str) -> None:
        ran = subprocess.run(
            ["bash", "-eu", "-c", commands],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=STEP_S,
        )  # fmt: skip
        assert ran.returncode == 0, f"{commands}\n{ran.stdout}\n{ran.stderr}"
        self.printed[commands.strip()] = ran.stdout

    def serve(self, command: str) -> None:
        assignment, rest = command.strip().split(" ", 1)
        name, value = assignment.split("=")
        assert rest == SERVE
        settings = {
            name: str(self.folder / value),
            "PYTHONPATH": str(self.site),
            "DECEPTRON_MAX_WAIT_S": f"{MAX_WAIT_S}",
        }
        self.service = start_service(self.folder, "--workers", "1", **settings)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The whole page, up to where versions begin."""
    folder = tmp_path_factory.mktemp("walk")
    found = Walk(folder, folder / "site")
    blocks = blocks_of(PAGE)
    try:
        for block in blocks[: _first_of_versions(blocks)]:
            found.follow(block)
        yield found
    finally:
        if found.service:
            stop_service(found.service)


def _first_of_versions(blocks: list[Block]) -> int:
    return next(i for i, block in enumerate(blocks) if "--version 2" in block.text)


def measured(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """(x, y): truths, and what a counter shows of them; NumPy's exponentials and NumPy's noise."""
    generator = np.random.default_rng(7)
    x = generator.uniform((0.5, 0.2, 0.5, 2.0), (2.0, 1.0, 2.0, 5.0), (count, 4))
    a, p, b, q = (column[:, None] for column in x.T)
    t = np.linspace(0.0, 3.0, 20)
    return x, a * np.exp(-p * t) + b * np.exp(-q * t) + generator.normal(0.0, 0.002, (count, 20))


def client_url(walk: Walk) -> str:
    assert walk.service is not None
    return walk.service.url


def client_of(walk: Walk) -> Client:
    return Client(client_url(walk), progress=False)


def test_the_page_ends_in_an_answer(walk: Walk) -> None:
    printed = walk.printed["python invert.py"]
    assert printed.startswith(("in_range", "suspect"))
    assert "truth" in printed


def test_answers_are_right(walk: Walk) -> None:
    truth, y = measured()
    with client_of(walk) as client:
        result = client.invert("decay", y)
        card = client.model("decay")
    assert {item.status for item in result.items} == {"converged"}
    error = np.abs(result.x - truth) / np.array([1.5, 0.8, 1.5, 3.0])
    assert np.median(error) < 0.02
    assert error.max() < 0.5
    assert result.verdicts.count("in_range") >= 0.85 * len(y)
    assert list(card["unknown"]["components"]) == ["a", "p", "b", "q"]


def test_training_makes_a_useful_inverse(walk: Walk) -> None:
    metrics = Registry(walk.folder / "checkpoints").manifest("decay").metrics
    assert metrics["auto_at_noise_level"] > 0.97
    assert metrics["oneshot_x_rmse"] < metrics["linear_mmse_x_rmse"] < metrics["prior_mean_x_rmse"]


def test_a_new_version_is_served_at_once_and_can_be_taken_back(walk: Walk) -> None:
    blocks = blocks_of(PAGE)
    forward, back = blocks[_first_of_versions(blocks) :]
    _, y = measured(3)
    with client_of(walk) as client:
        before = client.invert("decay", y)
        walk.follow(forward)
        after = client.invert("decay", y)
        body = {"model": "decay", "version": 1, "observations": y.tolist()}
        pinned = httpx.post(f"{client_url(walk)}/invert", json=body, headers=WAIT, timeout=MAX_WAIT_S + 20.0)
        walk.follow(back)
        again = client.invert("decay", y)
    assert (before.version, after.version, again.version) == (1, 2, 1)
    assert pinned.json()["result"]["version"] == 1
    np.testing.assert_array_equal(before.x, [item["x"] for item in pinned.json()["result"]["items"]])
    np.testing.assert_array_equal(before.x, again.x)
    assert not np.array_equal(before.x, after.x)


def test_the_template_itself_trains(walk: Walk) -> None:
    walk.run(
        "deceptron new-problem fresh && pip install ./fresh && pytest fresh && deceptron train fresh --budget smoke"
    )
    assert (walk.folder / "runs/fresh/1/manifest.json").exists()


def test_is_refused_clearly_where_the_package_is_missing(walk: Walk) -> None:
    """The checkpoint travels, the package does not: the error says what to install."""
    code = "import sys, pathlib, models.registry as r; r.Registry(pathlib.Path(sys.argv[1])).load('decay')"
    command = [sys.executable, "-c", code, str(walk.folder / "checkpoints")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 1
    assert "no problem named 'decay'; known are" in ran.stderr
    assert "install the package that has it" in ran.stderr


@pytest.mark.parametrize("name", ["Decay", "2d", "a-b", "../up", "", "x" * 60])
def test_names_that_make_no_package_are_refused(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service.cli", "new-problem", name, "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 2
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_package(tmp_path / "mine", "mine", "Mine")
    command = [sys.executable, "-m", "service.cli", "new-problem", "mine", "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 1
    assert "is not empty" in ran.stderr
