"""What a worker's monitor writes into the windows: one answer a picture, each version by itself."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from service.deblurring.spec import DeblurSpec
from service.inference import Inference
from service.metrics.worker import WorkerMetrics
from service.monitor import WorkerMonitor
from service.queue.batching import Done, Entry, Finished, Outcome, Running
from service.queue.window import Sample
from service.results import Notes
from service.rjcp import Judged


class Calibrated:
    """A network deblur in two versions."""

    def versions(self) -> dict[str, int]:
        return {"deblur": 2}

    def rjcp(self, model: str, version: int) -> np.ndarray:
        return np.linspace(0.5, 2.0, 100)


class Kept:
    """The windows, as a list."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, float]] = []

    def push(self, samples: Mapping[str, Sequence[Sample]]) -> None:
        self.pushed += [(name, sample.rjcp) for name, found in samples.items() for sample in found]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def monitor(kept: Kept) -> WorkerMonitor:
    metrics = WorkerMetrics({"device": "cpu", "engine": "torch", "version": "1"})
    judged = cast(Judged, Calibrated())
    return WorkerMonitor(cast(Inference, None), judged, metrics, kept)


def pictures(version: int, *chunks: str, **more: Any) -> Finished:
    """A batch of channels; the RJCP over its floor of the i-th is i."""
    spec = DeblurSpec("dnet", "deblur", version, None, "reflect", 1, None, 8, 8, 3, 8)
    found = {"residual_to_noise": 1.0, "p_value": 0.5, "verdict": "in_range", **more}
    done = []
    for i, chunk in enumerate(chunks):
        notes = Notes([[{"diagnostics": {**found, "rjcp_over_floor": float(i)}}]], 0.1, 0.1)
        done.append(Done(Running(Entry("1-0", chunk, "s", 1), 1, b""), Outcome({"x": b""}, 0, notes)))
    return Finished(spec.to_json(), tuple(done), len(done), 1.0, 0.1)


def test_a_picture_of_three_channels_is_one_answer(monitor: WorkerMonitor, kept: Kept) -> None:
    monitor.finished(pictures(2, "a:0", "a:1", "a:2", "b:10", "c:0"))
    assert kept.pushed == [("deblur:2", 0.0), ("deblur:2", 4.0)]


def test_a_version_that_is_rolled_back_to_keeps_its_own_window(monitor: WorkerMonitor, kept: Kept) -> None:
    monitor.finished(pictures(2, "a:0"))
    monitor.finished(pictures(1, "b:0"))
    assert [name for name, _ in kept.pushed] == ["deblur:2", "deblur:1"]


def test_what_was_solved_in_quarantine_has_no_notes(monitor: WorkerMonitor, kept: Kept) -> None:
    batch = pictures(2, "a:0")
    quarantined = Done(batch.booked[0].running, Outcome({"x": b""}, 0))
    monitor.finished(Finished(batch.spec, (quarantined, *batch.booked), 2, 1.0, 0.1))
    assert len(kept.pushed) == 1
