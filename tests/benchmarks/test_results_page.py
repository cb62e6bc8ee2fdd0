"""Goals hold or do not by all of their values; docs/results.md gathers what every run came to."""

import json
from pathlib import Path

import pytest

from benchmarks.goals import Goal, at_least, at_most
from benchmarks.report import Report
from benchmarks.results import record
from benchmarks.setup import Setup
from models.registry import Registry


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        (at_least("a", 1.0, [1.0, 2.0]), True),
        (at_least("a", 1.0, [0.999, 2.0]), False),
        (at_most("a", 1.0, [1.0, 0.5]), True),
        (at_most("a", 1.0, [1.01, 0.5]), False),
        (at_least("a", 1.0, [float("nan")]), False),
    ],
)
def test_one_value_beyond_the_bound_breaks_a_goal(goal: Goal, holds: bool) -> None:
    assert goal.holds is holds


def test_a_command_says_what_is_not_as_usual() -> None:
    registry = Registry(Path())
    assert Setup(registry).command("paper") == "deceptron bench paper --items 500 --repeats 3"
    short = Setup(registry, items=50, repeats=1, cost_s=0.1)
    assert short.command("paper") == "deceptron bench paper --items 50 --repeats 1 --cost-s 0.1"
    assert short.budget_s == 0.1


def test_a_goal_shows_every_value_and_the_reason_only_where_it_does_not_hold() -> None:
    broken, kept = at_least("a", 3.0, [2.5, 4.0], "Since so."), at_least("a", 3.0, [4.0, 4.0], "Since so.")
    assert broken.row() == ["a", "at least 3", "2.5, 4", "**no**. Since so."]
    assert kept.row() == ["a", "at least 3", "4", "yes"]


def run_of(name: str, value: float, folder: Path) -> str:
    report = Report(name, f"deceptron bench {name}")
    report.goals.append(at_least("a figure", 1.0, [value], "Since so."))
    report.write(folder)
    record(report, 90.0, folder)
    return folder.with_suffix(".md").read_text()


def test_the_page_gathers_all_runs_and_keeps_its_opening(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "opening.txt").write_text("Where it wins.\n")
    (folder / "older.md").write_text("## older\n")
    run_of("first", 2.0, folder)
    page = run_of("second", 0.5, folder)
    assert "[older](results/older.md)" in page
    assert "opening.txt)" not in page
    assert page.startswith("# Results\n\nWhere it wins.\n\n")
    assert "[first](results/first.md)" in page
    assert "| 1.5 | 1 of 1 |" in page
    assert "| 1.5 | 0 of 1 |" in page
    assert "| all |  |  |  | 3.0 |" in page
    assert "**no**. Since so." in page
    again = run_of("second", 5.0, folder)
    assert "**no**" not in again
    assert set(json.loads((folder / "summary.json").read_text())) == {"first", "second"}


def test_the_report_itself_shows_its_goals(tmp_path: Path) -> None:
    run_of("first", 2.0, tmp_path / "results")
    assert "| a figure | at least 1 | 2 | yes |" in (tmp_path / "results" / "first.md").read_text()
