"""What overlap could hide, what it does hide beside a solve that waits, and what buckets cost, in short form."""

import numpy as np
import pytest

from benchmarks import speed_buckets, speed_overlap
from benchmarks.report import Report
from benchmarks.setup import Setup
from models.registry import Registry
from service.inference import Inference
from service.settings import CHECKPOINTS

Y = np.sin(np.linspace(0, np.pi, 64, dtype=np.float32)) * np.linspace(0.2, 2, 64, dtype=np.float32)[:, None]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Inference:
    monkeypatch.setattr(speed_overlap, "BATCH", 64)
    monkeypatch.setattr(speed_overlap, "CHUNK", 16)
    monkeypatch.setattr(speed_overlap, "DEVICE_MS", (30,))
    return Inference(CHECKPOINTS, "cpu")


def test_the_steps_of_a_batch_are_told(small: Inference) -> None:
    report = Report("speed-overlap", "command")
    speed_overlap._steps(report, small, Y, 2)
    (row,) = report.rows
    assert 0 < row["steps_s"]["encode"] < row["steps_s"]["solve"]


def test_a_stand_in_for_a_device_waits_in_each_batch(small: Inference) -> None:
    report = Report("speed-overlap", "command")
    speed_overlap._on_a_device(report, small, Y, 4, 1)
    (row,) = report.rows
    assert all(seconds >= 0.03 for seconds in row["batch_s"][0])
    assert "| 30 |" in report.markdown()


def test_buckets_are_compared_with_whole_fours() -> None:
    report = speed_buckets.run(Setup(Registry(CHECKPOINTS), quick=True))
    (row,) = report.rows
    assert 1 < row["padded"] < 2
    assert row["warm_s"][1] > row["warm_s"][0] > 0
