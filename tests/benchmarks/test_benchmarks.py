"""Every benchmark runs, small, and its report holds what it must: a row for every method, every item behind it."""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import author, scaling
from benchmarks.ablation import RELAXATIONS
from benchmarks.directions import BASE, COVARIANCE, NO_CYCLE, NO_JCP, SWAPPED, TIED
from benchmarks.followup import THEIRS
from benchmarks.prices import PRICED
from benchmarks.product import SCOPES
from benchmarks.report import Report
from benchmarks.run import BENCHMARKS, GROUPS, UnknownBenchmark, main
from benchmarks.setup import Setup
from benchmarks.single import PEERS
from benchmarks.steps import rivals
from solvers.plans import METHODS
from tests.benchmarks.conftest import ROOT

# All benchmarks run once for the whole file: half a minute alone, minutes beside other work.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMES = ("paper", "product", "ablation", "scaling", "peers")


@pytest.fixture(scope="module")
def reports(setup: Setup) -> dict[str, Report]:
    return {name: BENCHMARKS[name](setup) for name in NAMES}


def tables(report: Report) -> dict[str, list[list[str]]]:
    """Title -> rows of cells."""
    found = {}
    for section in report.sections:
        if isinstance(section, str) and section.startswith("### "):
            title, _, _, _, *rows = section.split("\n")
            found[title.removeprefix("### ")] = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return found


def first_cells(report: Report, title: str) -> set[str]:
    (rows,) = [rows for name, rows in tables(report).items() if name.startswith(title)]
    return {row[0] for row in rows}


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [each for one in value.values() for each in numbers(one)]
    if isinstance(value, list):
        return [each for one in value for each in numbers(one)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("name", NAMES)
def test_report_is_whole(name: str, reports: dict[str, Report]) -> None:
    report = reports[name]
    assert report.rows
    assert all(math.isfinite(number) for number in numbers(report.rows))
    assert report.command == f"deceptron bench {name} --items 20 --repeats 1 --quick"
    assert report.machine["threads"] == 1
    assert all(len(set(map(len, rows))) == 1 for rows in tables(report).values())
    assert "nan" not in report.markdown().lower()


def test_paper_has_both_problems_and_the_cost_of_a_step(reports: dict[str, Report]) -> None:
    report = reports["paper"]
    assert {"dipg", "gn", "lm", "gd", "lbfgs", "oneshot", "linear MMSE", "prior mean"} <= first_cells(
        report, "oscillator-paper, 1 x 20"
    )
    assert "gd, step 64" in first_cells(report, "heat1d-paper, 1 x 20")
    assert first_cells(report, "heat1d-paper: cost") == {*rivals(), "best of GN and LM"}
    assert report.rules["heat1d-paper"]["line_search"]["relaxation"] == 0.4
    assert all(len(row["x_rmse"]) == 20 for row in report.rows if "x_rmse" in row)


QUICK_MODELS = ("heat1d", "oscillator", "heat1d_nonlinear", "heat3d")  # Allen-Cahn takes minutes


def test_product_has_every_method_alone_and_in_a_batch(reports: dict[str, Report]) -> None:
    report = reports["product"]
    assert {*QUICK_MODELS, "allen_cahn2d"} == set(SCOPES)
    for name in QUICK_MODELS:
        assert {*METHODS, "lm, from g(y*)", "linear MMSE", "prior mean"} <= first_cells(report, f"{name}, 1 x 20")
    for name in ("oscillator", "heat1d_nonlinear"):
        assert "lm, 8 starts" in first_cells(report, f"{name}, 1 x 20")
    timed = [
        row for row in report.rows if row.get("method") in METHODS and row.keys().isdisjoint({"tolerance", "priced"})
    ]
    assert all(row["microseconds"].keys() == {1, 256} for row in timed)
    assert {figure.file for figure in report.figures()} == {
        f"{name}-{kind}.png" for name in QUICK_MODELS for kind in ("error", "residual")
    }


def test_product_has_the_follow_ups_tolerances_and_prices(reports: dict[str, Report]) -> None:
    report = reports["product"]
    for name in ("heat1d_nonlinear", "heat3d"):
        assert THEIRS in first_cells(report, f"{name} at the follow-up's tolerance")
        assert first_cells(report, f"{name}: a whole solve to the follow-up's") == set(PRICED)
        assert first_cells(report, f"{name}: a whole solve to the noise level") == set(PRICED)


def test_goals_name_what_was_promised(reports: dict[str, Report]) -> None:
    figures = {name: " ".join(goal.figure for goal in report.goals) for name, report in reports.items()}
    assert all(words in figures["paper"] for words in ("x-GD", "success", "a step of", "a solve of", "batch 256"))
    assert all(words in figures["product"] for words in ("linear MMSE", "auto at", "8 starts", "heat3d", "LM's cost"))
    assert all(words in figures["ablation"] for words in ("without JCP", "tied"))
    (success,) = (goal for goal in reports["product"].goals if "heat3d: D-IPG's success" in goal.figure)
    assert success.holds


def test_ablation_judges_each_claim_and_keeps_each_variant(reports: dict[str, Report]) -> None:
    report = reports["ablation"]
    assert len(re.findall(r"\*\*(confirmed|refuted)\*\*", report.markdown())) == 13
    assert {BASE, NO_JCP, TIED, SWAPPED, NO_CYCLE, COVARIANCE} <= first_cells(report, "Losses")
    assert len(first_cells(report, "The step")) == 2 * len(RELAXATIONS)
    assert len(first_cells(report, "Layers")) == 3
    (figure,) = report.figures()
    trained = first_cells(report, "Losses") | first_cells(report, "Layers")
    assert all({series.name for series in panel.series} == trained for panel in figure.panels)
    rows = {row["variant"]: row for row in report.rows}
    assert all(len(row["iterations"]) == len(row["converged"]) == 20 for row in rows.values())
    one = rows[NO_JCP]
    assert one["composition_sum"] == pytest.approx(64 * one["composition"])
    # W^T is no inverse of a W whose singular values go from nothing to far above 1: the options do something.
    for name in (TIED, SWAPPED):
        assert rows[name]["composition"] > 10 * rows[BASE]["composition"]


def test_scaling_fits_an_exponent_to_every_method(reports: dict[str, Report]) -> None:
    for rows in tables(reports["scaling"]).values():
        assert rows[-1][0] == "exponent"
        assert all(math.isfinite(float(cell)) for cell in rows[-1][1 : 1 + len(scaling.METHODS)])


def test_scaling_stops_where_a_step_takes_too_long(monkeypatch: pytest.MonkeyPatch, setup: Setup) -> None:
    monkeypatch.setattr(scaling, "CAP_S", 0.0)
    by_n = [row for row in scaling.run(setup).rows if row["batch"] == 1 and row["n"] in (32, 64)]
    assert {row["n"] for row in by_n if row["seconds"] is None} >= {64}


def test_peers_stand_beside_ours_and_meet_the_tolerance(reports: dict[str, Report]) -> None:
    report = reports["peers"]
    for name in ("heat1d-paper", "heat1d", "oscillator"):
        cells = first_cells(report, f"{name} (")
        assert {*(peer.name for peer in PEERS), "dipg (ours)", "dipg (ours), batch 20", "lm (ours)"} <= cells
    bounded = [row for row in report.rows if row["method"] == "scipy trf"]
    assert bounded
    assert all(all(row["converged"]) for row in bounded)


def test_without_the_authors_package_the_report_says_so(reports: dict[str, Report]) -> None:
    try:
        author.author_package()
    except author.NotImportable:
        assert "was not compared: ModuleNotFoundError" in reports["peers"].markdown()
        return
    assert "The author's package against preset `paper`" in tables(reports["peers"])


@pytest.mark.parametrize(
    ("source", "reason"), [("def broken(:", "SyntaxError"), ("", "another package"), ("import nosuch", "nosuch")]
)  # fmt: skip
def test_a_package_that_is_not_the_authors_is_refused(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deceptron.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "deceptron", raising=False)
    with pytest.raises(author.NotImportable, match=reason):
        author.author_package()
    sys.modules.pop("deceptron", None)


def test_main_writes_markdown_rows_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("scaling", tmp_path / "results", ROOT / "checkpoints", items=20, repeats=1, quick=True)
    assert (tmp_path / "results" / "scaling.png").exists()
    assert "](scaling.png)" in (tmp_path / "results" / "scaling.md").read_text()
    assert json.loads((tmp_path / "results" / "scaling.json").read_text())["rows"]
    assert "[scaling](results/scaling.md)" in (tmp_path / "results.md").read_text()
    output = capsys.readouterr()
    assert output.out.startswith("## scaling")
    assert re.search(r"bench scaling: \d+ s", output.err)


def test_main_lists_the_benchmarks_it_knows() -> None:
    with pytest.raises(UnknownBenchmark, match=r"paper, product, ablation, scaling, peers\b.*, all, speed"):
        main("nosuch", None, Path("checkpoints"))


def test_a_group_is_made_of_known_benchmarks_and_runs_them_in_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(each in BENCHMARKS for group in GROUPS.values() for each in group)
    for each in BENCHMARKS:
        monkeypatch.setitem(BENCHMARKS, each, lambda setup, each=each: Report(each, "command"))
    main("speed", None, Path("checkpoints"))
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("## ")] == [
        f"## {each}" for each in GROUPS["speed"]
    ]
