"""What the trust benchmark measures with: AUROC against its definition, and shifts that do what their names say."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from benchmarks.limits import keep
from benchmarks.setup import Setup
from benchmarks.shifts import Draw, shifts_of
from benchmarks.trust import IN_RANGE, auroc, run
from models.registry import Registry
from physics.problem import load_problem
from trust.scores import SCORES


def draw(name: str, count: int = 200) -> Draw:
    problem, generator = load_problem(name), Generator().manual_seed(1)
    x, clean = problem.simulate(count, generator)
    return Draw(problem, x, clean, generator)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    inside, outside = torch.randn(40), torch.randn(30) + 1.0
    outside[:5] = inside[:5]
    pairs = outside[:, None] - inside
    expected = ((pairs > 0).double() + 0.5 * (pairs == 0).double()).mean().item()
    assert auroc(inside, outside) == pytest.approx(expected)
    assert auroc(torch.zeros(9), torch.zeros(7)) == 0.5
    assert auroc(torch.zeros(9), torch.full((7,), torch.nan)) == 1.0


@pytest.mark.parametrize("name", ["heat1d", "oscillator"])
def test_every_shift_leaves_the_noise_behind(name: str) -> None:
    """Each family moves observations, is drawn anew for each row, and keeps their shape and precision."""
    problem = load_problem(name)
    for family, shift in shifts_of(problem).items():
        items = draw(name)
        y = shift(items)
        assert (y.shape, y.dtype) == (items.clean.shape, items.clean.dtype), family
        moved = (y - items.clean).square().mean(1).sqrt() / problem.noise_std
        assert moved.median() > 1.15, family
        assert y.isfinite().all(), family


def test_stuck_sensors_are_a_quarter_side_by_side() -> None:
    y = shifts_of(load_problem("oscillator"))["a quarter stuck"](draw("oscillator"))
    longest = torch.stack([_longest_run(row) for row in y])
    assert (longest == 16).all()


def _longest_run(row: Tensor) -> Tensor:
    _, counts = torch.unique_consecutive(row, return_counts=True)
    return counts.max()


def test_what_was_measured_goes_into_the_model_card(setup: Setup, tmp_path: Path) -> None:
    shutil.copytree(setup.registry.root / "heat1d", tmp_path / "heat1d")
    rows = [{"model": "heat1d", "family": "noise x3", "items": 20, "measured": {"combined": 0.99}}]
    (tmp_path / "trust.json").write_text(json.dumps({"name": "trust", "rows": rows}))
    assert keep(tmp_path / "trust.json", Registry(tmp_path)) == ["heat1d"]
    loaded = Registry(tmp_path).load("heat1d")
    assert loaded.manifest.limits == {"noise x3": {"items": 20.0, "combined": 0.99}}
    before = setup.registry.manifest("heat1d").model_copy(update={"limits": loaded.manifest.limits})
    assert loaded.manifest == before


def test_the_report_has_promises_and_every_family_of_every_model(setup: Setup) -> None:
    report = run(setup)
    models = {row["model"] for row in report.rows}
    assert models == {"heat1d"}  # quick takes one
    for name in models:
        promises, *families = [row for row in report.rows if row["model"] == name]
        assert promises["family"] == IN_RANGE
        assert promises["measured"]["covered_by_90"] == pytest.approx(0.9, abs=0.06)
        assert {row["family"] for row in families} == set(shifts_of(setup.registry.load(name).problem))
        assert all(set(row["measured"]) == {*SCORES, "combined", "out_of_range"} for row in families)
        noisier = next(row for row in families if row["family"] == "noise x3")
        assert noisier["measured"]["mahalanobis"] > 0.9
        assert noisier["measured"]["combined"] > 0.9
    assert "False alarms and coverage" in report.markdown()
