"""The speed benchmarks in short form, on the shared service: all that they claim to measure is there, and judged."""

from functools import partial

import numpy as np
import pytest

from benchmarks import speed_bodies, speed_load, speed_memory, speed_overlap, speed_served
from benchmarks.report import Report
from benchmarks.setup import Setup
from benchmarks.speed_servers import Server
from models.registry import Registry
from service.settings import CHECKPOINTS
from tests.service.conftest import MAX_WAIT_S, WAIT, Service

SETUP = Setup(Registry(CHECKPOINTS), quick=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may keep the shared worker busy for a while, and the machine too busy to look at memory often."""
    monkeypatch.setitem(speed_bodies.WAIT, "prefer", WAIT["Prefer"])
    monkeypatch.setattr(speed_load, "TIMEOUT_S", MAX_WAIT_S + 20.0)
    monkeypatch.setattr(speed_memory, "WINDOW_SHARE", 0.5)


@pytest.fixture
def server(service: Service) -> Server:
    return Server(service.url, service.pid)


@pytest.fixture(scope="module")
def heat() -> np.ndarray:
    """Forty temperatures (40, 64), as float32."""
    return np.sin(np.linspace(0, np.pi, 64, dtype=np.float32)) * np.linspace(0.2, 2, 40, dtype=np.float32)[:, None]


def test_processes_are_told_apart(server: Server) -> None:
    held = server.resident_bytes()
    roles = {role.split()[0] for role in held}
    assert {"serve", "api", "worker"} <= roles
    assert roles & {"redis-server", "valkey-server", "valkey"}
    assert min(held.values()) > 2**20


def test_the_service_is_measured_against_the_engine(server: Server, heat: np.ndarray) -> None:
    report = Report("speed-service", "command")
    speed_served._measure(report, SETUP, {"ours": server}, heat)
    assert len(report.goals) == 2  # those of the peers want the peers
    text = report.markdown()
    for heading in ("Closed loop", "Open loop, single JSON", "By size of the body", "Where a request's time goes"):
        assert f"### {heading}" in text
    (stages,) = (row["stages"] for row in report.rows if "stages" in row)
    for spent in stages.values():
        assert spent["solve"] > 0
        assert spent["diagnose"] > 0


def test_overlap_is_compared_with_none(server: Server, heat: np.ndarray) -> None:
    report = Report("speed-overlap", "command")
    burst = partial(speed_overlap._burst, speed_bodies.single(speed_overlap.MODEL, heat[0]), 1, 0.2)
    speed_overlap._compare(report, "single JSON", burst, {"off": server, "on": server}, 1)
    (row,) = report.rows
    assert all(row[figure][way][0] > 0 for figure in ("per_second", "p50_ms") for way in ("off", "on"))
    assert sum(server.cpu_s().values()) > speed_overlap._worker_s(server) > 0


def test_memory_is_watched_in_a_huge_job_and_in_a_soak(server: Server, heat: np.ndarray) -> None:
    report = Report("speed-memory", "command")
    speed_memory._huge(report, server, np.tile(heat, (20, 1)))
    speed_memory._soak(report, server, heat, 4.0)
    huge, soak = report.rows
    assert huge["observations"] == 800
    assert {"serve", "api", "worker"} <= {role.split()[0] for role in soak["growth"]}
    assert all(rate > 0 for rate in soak["answered"].values())
    assert report.goals[0].holds  # even the short form keeps within a gigabyte a process


def test_growth_is_told_from_the_warm_state_to_the_end() -> None:
    watched = speed_memory.Watched(
        seen={"api 1": [(float(t), 100 + (t > 50)) for t in range(101)], "gone 2": [(1.0, 5)]}
    )
    assert watched.peaks() == {"api": 101, "gone": 5}
    assert watched.between(25, 35) == {"api 1": 100}
    assert watched.between(90, 100) == {"api 1": 101}
