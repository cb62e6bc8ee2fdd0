"""The figures that explain the method show what the page beside them says."""

from pathlib import Path

import pytest
import torch

from benchmarks.method import along_curves, figures
from benchmarks.plots import draw
from models.registry import Registry
from solvers.plans import noise_level

REGISTRY = Registry(Path(__file__).parents[2] / "checkpoints")


def test_the_published_curve_comes_back_to_where_it_started() -> None:
    loaded = REGISTRY.load("oscillator")
    alpha, residuals = along_curves(loaded, 100)
    at_one = int((alpha - 1.0).abs().argmin())
    start = residuals["dipg"][:, 0]
    torch.testing.assert_close(residuals["dipg as published"][:, at_one], start, rtol=1e-3, atol=1e-3)
    level = noise_level(loaded.problem.m)
    assert start.median() > 2 * level
    assert residuals["dipg"][:, at_one].median() < level
    assert residuals["gd"].median(0).values.min() > level


@pytest.mark.slow
def test_the_figures_can_be_drawn(tmp_path: Path) -> None:
    assert sorted(draw(figures(REGISTRY), tmp_path)) == ["answer.png", "curves.png"]
