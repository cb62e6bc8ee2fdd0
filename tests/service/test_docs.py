"""The documentation holds: the site builds without a warning, every page is reachable, every command shown runs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.make_notebook import ADDRESS, main, notebook_of
from service.arrays import encode_npy
from service.demo import make_example
from tests.blocks import ROOT, Block, blocks_of
from tests.scenes import scene
from tests.service.conftest import Service

PAGES = ["README.md", *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").glob("*.md"))]
WALKED = {
    "docs/your-own-problem.md": "tests/test_your_own_problem.py",
    "docs/bulk.md": "tests/service/test_bulk.py",
    "docs/tutorial.md": "test_the_tutorial_runs, below",
}
"""Pages whose blocks build on each other: run in order, elsewhere."""
NOT_RUN = {
    r"make (demo|run|test|docs|soak|fuzz|sbom)\b": "tests/service/test_serve.py, test_cli.py; minutes to hours",
    r"pip install ./decay && deceptron train decay ": "tests/test_your_own_problem.py",
    r"deceptron (bench|train) ": "minutes to hours; tests/benchmarks and tests/training run them cut short",
    r"(docker|kubectl|torchrun) ": "no engine, cluster or GPU here; tests/docker, tests/training/test_team.py",
}
"""Commands that are shown but not run here, and what stands for them."""
PRELUDES = {
    "docs/protocols.md": (
        "import numpy as np\nobservations = np.load('many.npy')\n"
        "x = sens = vec = (0.1 * np.sin(np.pi * np.arange(64) / 63)).tolist()\n"
    ),
}
"""What a page's Python takes for granted."""


def nav_pages(entries: list[object]) -> list[str]:
    """Every page of the navigation, in order."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += nav_pages(value) if isinstance(value, list) else [str(value)]
    return found


@pytest.mark.slow
def test_the_site_builds_without_a_warning() -> None:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    reference = (ROOT / "build/site/reference.html").read_text()
    assert "service.client.Client" in reference
    assert "waiting as long as it takes" in reference  # a docstring, not a name alone


def test_every_page_is_in_the_navigation() -> None:
    nav = nav_pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    assert sorted(f"docs/{page}" for page in nav) == [page for page in PAGES if page != "README.md"]


@pytest.mark.slow
def test_the_tutorial_runs(service: Service, tmp_path: Path) -> None:
    main(service.url, tmp_path / "run.ipynb")
    outputs = "".join(
        "".join(output.get("text", []))
        for cell in json.loads((tmp_path / "run.ipynb").read_text())["cells"]
        for output in cell.get("outputs", [])
    )
    assert "verdict: in_range" in outputs
    assert "out_of_range\n" in outputs


def test_the_notebook_is_the_tutorial() -> None:
    kept = json.loads((ROOT / "docs/tutorial.ipynb").read_text())["cells"]
    made = notebook_of((ROOT / "docs/tutorial.md").read_text(), ADDRESS).cells
    assert ["".join(cell["source"]) for cell in kept] == [cell.source for cell in made]
    assert any(cell.get("outputs") for cell in kept)


def shown() -> list[tuple[str, Block]]:
    """Every block that is run one by one here."""
    pages = [page for page in PAGES if page not in WALKED]
    return [
        (page, block) for page in pages for block in blocks_of(page) if block.language in ("sh", "console", "python")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: observations and a photograph."""
    made = tmp_path_factory.mktemp("reader")
    (made / "many.npy").write_bytes(encode_npy(np.stack([make_example(seed).observation for seed in range(3)])))
    photo = Image.fromarray(np.moveaxis((255 * scene(96, 128, 3)).round().astype(np.uint8), 0, -1))
    for suffix in ("png", "tif", "jpg"):
        photo.save(made / f"photo.{suffix}")
    kernel = np.outer((1, 2, 1), (1, 2, 1)).astype(float)
    (made / "kernel.npy").write_bytes(encode_npy(kernel))
    Image.fromarray((255 * kernel / kernel.max()).astype(np.uint8)).save(made / "kernel.png")
    return made


def as_run(text: str, service: Service, page: str, language: str) -> str:
    """A block as it is run here: another address, real numbers, no environment's path, without what is not run."""
    meant = {
        "http://127.0.0.1:8000": service.url,
        "127.0.0.1:8000": service.url.removeprefix("http://"),
        "...64 numbers...": ", ".join(map(repr, make_example(1).observation.tolist())),
        "[[0.2, ...], ...]": str(scene(24, 24)[0].round(3).tolist()),
        ".venv/bin/": "",
    }
    for said, here in meant.items():
        text = text.replace(said, here)
    if language == "python":
        return PRELUDES.get(page, "") + text
    lines = text.replace("\\\n", " ").splitlines()
    return "\n".join(line for line in lines if not any(re.match(pattern, line) for pattern in NOT_RUN))


@pytest.mark.parametrize(
    ("page", "block"), shown(), ids=lambda value: value if isinstance(value, str) else str(value.line)
)
def test_what_is_shown_runs(page: str, block: Block, service: Service, folder: Path) -> None:
    text = as_run(block.text, service, page, block.language)
    program = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **_offline(folder)}
    ran = subprocess.run([*program, text], cwd=folder, env=env, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, f"{page}:{block.line}\n{text}\n{ran.stdout}\n{ran.stderr}"
    assert '"status":4' not in ran.stdout, ran.stdout  # curl is content with an error


def _offline(folder: Path) -> dict[str, str]:
    """pip installs into the folder; smoke-sized training stands for the full one."""
    pip = {"PIP_TARGET": str(folder / "site"), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
    return {**pip, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": str(folder / "site")}
