"""`deceptron serve` under attack: killed workers, killed parents, taken ports, and a clean end."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.client import Client, Job, Options
from tests.service.conftest import DECEPTRON, ROOT, Service, alive, processes, start_service, stop_service, wait_for

STEADY = Options(max_iterations=60, tolerance=1e-9)
# A dead worker's work is soon taken over.
SHORT_LEASE = {"DECEPTRON_LEASE_S": "2", "DECEPTRON_HEARTBEAT_S": "0.5", "DECEPTRON_RECLAIM_EVERY_S": "0.5"}
DRAIN_S = 150  # so long may whoever stops finish what it holds; after that it is killed


def family(folder: Path) -> list[int]:
    """Process ids of everything that was started with this data directory (the queue server by its working folder)."""
    found = [pid for pid, words in processes() if any(str(folder) in word for word in words)]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(folder)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a service's data; whatever a failed test leaves running there is ended."""
    yield tmp_path
    for pid in family(tmp_path):
        os.kill(pid, signal.SIGKILL)


# One test and not six: whichever test process runs it, two services are started and no more.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_survives_attacks_and_ends_cleanly(folder: Path, observations: np.ndarray) -> None:
    own = start_service(folder, "--workers", "1", **SHORT_LEASE)
    job_id = a_killed_worker_loses_nothing(own, observations)
    a_killed_api_comes_back_on_its_port(own)
    a_taken_port_is_one_clear_line(own)
    children_follow_a_killed_parent(own)
    again = start_service(folder, "--workers", "1", **SHORT_LEASE, DECEPTRON_DRAIN_S=f"{DRAIN_S}")
    with Client(again.url, progress=False) as client:
        assert len(client.result(job_id).items) == 1000  # type: ignore[union-attr]
    sigterm_stops_everything_within_seconds(again, observations)


def a_killed_worker_loses_nothing(own: Service, observations: np.ndarray) -> str:
    with Client(own.url, progress=False) as client:
        (victim,) = own.children()["worker"]
        job = caught_running(client, victim, observations)
        os.kill(victim, signal.SIGKILL)
        finished = client.wait(job, timeout_s=200)
        assert (finished.status, finished.done) == ("succeeded", 1000)
    assert own.children()["worker"] != [victim]
    wait_for(lambda: httpx.get(f"{own.url}/health/ready", timeout=60, trust_env=False).status_code == 200)
    return job.id


def caught_running(client: Client, worker: int, observations: np.ndarray) -> Job:
    """A job in the middle of which the worker has been stopped for a moment."""

    def caught() -> Job | None:
        job = client.submit("oscillator", observations, method="gd", options=STEADY)
        wait_for(lambda: client.job(job).status != "queued")
        os.kill(worker, signal.SIGSTOP)
        if not client.job(job).finished:
            return job
        os.kill(worker, signal.SIGCONT)  # it was quicker than this test
        return None

    found: Job = wait_for(caught)
    return found


def a_killed_api_comes_back_on_its_port(own: Service) -> None:
    (victim,) = own.children()["api"]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not alive(victim))
    # The port is never lost: a call made meanwhile waits for the new process.
    assert httpx.get(f"{own.url}/health/live", timeout=60, trust_env=False).status_code == 200


def a_taken_port_is_one_clear_line(own: Service) -> None:
    port = own.url.rsplit(":", 1)[1]
    ran = subprocess.run([*DECEPTRON, "serve", "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=500)
    said = f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; try another --port"
    assert (ran.returncode, ran.stdout, ran.stderr.splitlines()) == (1, "", [said])


def children_follow_a_killed_parent(own: Service) -> None:
    orphans = [pid for pids in own.children().values() for pid in pids]
    assert len(orphans) == 2
    stop_service(own, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in orphans))


def sigterm_stops_everything_within_seconds(own: Service, observations: np.ndarray) -> None:
    folder, children = own.log.parent, own.children()
    pids = {own.pid, *children["api"], *children["worker"], *family(folder)}
    assert len(pids) >= 4  # supervisor, API, worker, queue server
    with Client(own.url, progress=False) as client, ThreadPoolExecutor(1) as pool:
        many = np.tile(observations, (20, 1))
        job = client.submit("oscillator", many, method="gd", options=STEADY)
        waiting = pool.submit(client.job, job, 29.0)
        wait_for(lambda: client.job(job).status == "running")
        started = time.monotonic()
        stop_service(own, timeout_s=2 * DRAIN_S)
        assert time.monotonic() - started < DRAIN_S  # each ended by itself
        assert waiting.result().status == "running"  # who waits is answered, not cut off
    assert not [pid for pid in pids if alive(pid)]
    assert not family(folder)


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="this machine has a GPU: asking for one succeeds")
def test_a_missing_device_is_said_at_start(folder: Path) -> None:
    command = [*DECEPTRON, "serve", "--port", "0", "--device", "cuda", "--data-dir", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 1
    assert "CUDA" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not family(folder)
