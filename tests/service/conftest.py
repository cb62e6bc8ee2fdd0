"""A real service for the tests: `deceptron serve` as a user runs it, one for all test processes of a run."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import Client
from service.demo import NOISE_STD, displacement, make_example

ROOT = Path(__file__).parents[2]
DECEPTRON = [sys.executable, "-m", "service.cli"]
START_S = 200.0  # on a machine that is busy with much else
MAX_WAIT_S = 100
WAIT = {"Prefer": f"wait={MAX_WAIT_S}"}
"""Until the job has ended, however long other tests keep the shared worker busy."""


@dataclass(frozen=True)
class Service:
    """A running service: where it is, its supervisor's process id, its log file."""

    url: str
    pid: int
    log: Path

    def children(self) -> dict[str, list[int]]:
        """Process ids of the API ('api') and of the workers ('worker')."""
        found: dict[str, list[int]] = {"api": [], "worker": []}
        for pid, words in processes():
            if parent_of(pid) == self.pid and "service.cli" in words:
                found[words[words.index("service.cli") + 1]].append(pid)
        return found


def processes() -> Iterator[tuple[int, list[str]]]:
    """Process id and command line of every process that can be read."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def start_service(folder: Path, *options: str, start_s: float = START_S, **settings: str) -> Service:
    """Start `deceptron serve` on a free port, its data and log in `folder`; returns once it says that it is ready."""
    log, said = folder / "service.log", folder / "said.txt"
    command = [*DECEPTRON, "serve", "--port", "0", "--data-dir", str(folder / "data"), *options]
    env = {**os.environ, **settings}
    env.pop("REDIS_URL", None)
    with log.open("wb") as err, said.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=err, start_new_session=True)
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it, whichever test process stops it
    try:
        wait_for(lambda: "ready at" in said.read_text() or process.poll() is not None, start_s)
        return Service(re.findall(r"ready at (\S+)", said.read_text())[0], process.pid, log)
    except BaseException as error:
        process.terminate()
        raise RuntimeError(f"the service did not start:\n{log.read_text()[-3000:]}") from error


def stop_service(service: Service, number: int = signal.SIGTERM, timeout_s: float = 100.0) -> None:
    """Signal the supervisor and wait until it is gone."""
    os.kill(service.pid, number)
    wait_for(lambda: not alive(service.pid), timeout_s)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], Any], timeout_s: float = 100.0) -> Any:
    """The first true value of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"still not so after {timeout_s:g} s")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The shared service: the first test process to need it starts it, the last one to leave stops it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    state, lock = shared / "service.json", shared / "service.lock"
    folder = tmp_path_factory.mktemp("service")
    with locked(lock):
        users, found = 0, None
        if state.exists():
            users, url, pid, log = json.loads(state.read_text())
            found = Service(url, pid, Path(log)) if users else None
        found = found or start_service(folder, "--workers", "1", DECEPTRON_MAX_WAIT_S=f"{MAX_WAIT_S}")
        state.write_text(json.dumps([users + 1, found.url, found.pid, str(found.log)]))
    yield found
    with locked(lock):
        left = json.loads(state.read_text())[0] - 1
        state.write_text(json.dumps([left, found.url, found.pid, str(found.log)]))
        if left == 0:
            stop_service(found)


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client of the shared service."""
    with httpx.Client(base_url=service.url, timeout=MAX_WAIT_S + 20.0, trust_env=False) as client:
        yield client


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, progress=False) as found:
        yield found


@pytest.fixture(scope="session")
def observation() -> np.ndarray:
    """One noisy oscillation (64,), integrated by SciPy."""
    return make_example(3).observation


@pytest.fixture(scope="session")
def observations() -> np.ndarray:
    """A thousand noisy oscillations (1000, 64): twenty of SciPy's, fifty noises on each."""
    clean = np.array([displacement(make_example(seed).truth) for seed in range(20)])
    noise = np.random.default_rng(0).normal(0.0, NOISE_STD, (1000, clean.shape[1]))
    return np.tile(clean, (50, 1)) + noise
