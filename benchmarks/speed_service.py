"""A real service on loopback under load, and its peers: throughput and waiting times, one client to many."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import httpx
import numpy as np

START_S = 180.0
CLIENTS = 32


@dataclass(frozen=True)
class Load:
    """Answers within a time: observations per second, and the waiting times (s) of the requests."""

    per_second: float
    waited_s: list[float]

    def percentile(self, percent: int) -> float:
        """Of the waiting times, in seconds."""
        return quantiles(self.waited_s, n=100, method="inclusive")[percent - 1]


@contextmanager
def service(workers: int) -> Iterator[str]:
    """`deceptron serve` with so many workers; its address."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        options = ("--port", "0", "--data-dir", folder, "--workers", str(workers))
        env = {**os.environ, "DECEPTRON_LOG_LEVEL": "error", "DECEPTRON_AUTH": "off"}
        env.pop("REDIS_URL", None)
        with said.open("wb") as out, _process(["-m", "service.cli", "serve", *options], out, env):
            _until(lambda: "ready at" in said.read_text())
            yield re.findall(r"ready at (\S+)", said.read_text())[0]


@contextmanager
def peer(name: str, model: str) -> Iterator[str]:
    """One of the peers' servers; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _process(["-m", "benchmarks.speed_peers", name, str(port), model], subprocess.DEVNULL, dict(os.environ)):
        url = f"http://127.0.0.1:{port}"
        _until(lambda: _answers(f"{url}/health"))
        yield url


@contextmanager
def _process(words: list[str], out: object, env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *words],
        stdout=out,  # type: ignore[call-overload]
        stderr=subprocess.DEVNULL,
        env=env,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not become ready")
        time.sleep(0.1)


def closed_loop(send: Callable[[httpx.Client], int], clients: int, budget_s: float) -> Load:
    """So many clients, each sending its next request when the last one is answered; ``send`` gives observations."""
    done: list[tuple[float, int]] = []
    until = time.perf_counter() + budget_s

    def one() -> None:
        with httpx.Client(timeout=60) as client:
            send(client)
            while (began := time.perf_counter()) < until:
                count = send(client)
                done.append((time.perf_counter() - began, count))

    threads = [threading.Thread(target=one) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return Load(sum(count for _, count in done) / seconds, [waited for waited, _ in done])


def single(url: str, model: str, y: np.ndarray) -> Callable[[httpx.Client], int]:
    """One observation as JSON, answered in place."""
    body = {"model": model, "observations": [y.tolist()]}

    def send(client: httpx.Client) -> int:
        client.post(f"{url}/invert", json=body, headers={"prefer": "wait=30"}).raise_for_status()
        return 1

    return send


def predicted(url: str, y: np.ndarray) -> Callable[[httpx.Client], int]:
    """The same to a peer."""
    body = {"observations": [y.tolist()]}

    def send(client: httpx.Client) -> int:
        client.post(f"{url}/predict", json=body).raise_for_status()
        return 1

    return send


def many(url: str, model: str, y: np.ndarray) -> Callable[[httpx.Client], int]:
    """Many observations as one npy body; the reconstructions as npy."""
    buffer = io.BytesIO()
    np.save(buffer, y)
    body = buffer.getvalue()
    headers = {"content-type": "application/x-npy", "prefer": "wait=30"}

    def send(client: httpx.Client) -> int:
        answer = client.post(f"{url}/invert", params={"model": model}, content=body, headers=headers)
        answer.raise_for_status()
        job = answer.json()["id"]
        while client.get(f"{url}/jobs/{job}", params={"wait": 30}).json()["status"] in ("queued", "running"):
            pass
        found = client.get(f"{url}/jobs/{job}/result", headers={"accept": "application/x-npy"})
        found.raise_for_status()
        return len(y)

    return send
