"""What a job costs the queue is measured at every depth asked for, and judged against the first."""

import pytest

from benchmarks import speed_scaling
from benchmarks.report import Report


def test_costs_are_told_for_every_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_scaling, "AT_A_DEPTH", 128)
    report = Report("speed-scaling", "command")
    speed_scaling._queued(report, (16, 200))
    (rows,) = report.rows
    assert list(rows["queued"]) == ["16", "200"]
    assert all(cost > 0 for costs in rows["queued"].values() for cost in costs)
    assert [goal.figure.split(" with")[0] for goal in report.goals] == ["a job's cost to submit", "a job's cost to run"]
    assert "| 200 |" in report.markdown()
