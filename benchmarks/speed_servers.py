"""Servers to measure, each a process of its own on loopback: ours with so many workers, and its peers."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 240.0
STOP_S = 20.0
PEERS = ("litserve", "fastapi")


@dataclass(frozen=True)
class Server:
    """Where it answers, and the process whose children do the work."""

    url: str
    pid: int

    def resident_bytes(self) -> dict[str, int]:
        """Memory held by each process of the server: role and process id -> bytes."""
        return {name: int(statm[1]) * os.sysconf("SC_PAGE_SIZE") for name, statm in self._told("statm")}

    def cpu_s(self) -> dict[str, float]:
        """CPU time that each process has taken so far, also in the kernel: role and process id -> seconds."""
        ticks = os.sysconf("SC_CLK_TCK")
        return {name: (int(stat[13]) + int(stat[14])) / ticks for name, stat in self._told("stat")}

    def _told(self, file: str) -> Iterator[tuple[str, list[str]]]:
        """Role and process id of each process, and the words of its file in /proc."""
        for pid in _with_children(self.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                found = Path(f"/proc/{pid}/{file}").read_text().split()
            except OSError:  # it has just ended
                continue
            if not words[0] or not found:  # it has ended, and its parent has not noticed
                continue
            # Redis writes its address behind its name, in one word.
            role = words[words.index("service.cli") + 1] if "service.cli" in words else Path(words[0].split()[0]).name
            yield f"{role} {pid}", found


def _with_children(pid: int) -> list[int]:
    try:
        tasks = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    return [pid, *(each for line in tasks for child in line.split() for each in _with_children(int(child)))]


@contextmanager
def service(workers: int, **settings: str) -> Iterator[Server]:
    """`deceptron serve` with so many workers. ``settings``: further DECEPTRON_ variables, by their lower-case names."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        options = ("--port", "0", "--data-dir", folder, "--workers", str(workers))
        given = {"log_level": "error", "auth": "off", **settings}
        env = {**os.environ, **{f"DECEPTRON_{name.upper()}": value for name, value in given.items()}}
        env.pop("REDIS_URL", None)
        with said.open("wb") as out, _process(["-m", "service.cli", "serve", *options], out, env) as process:
            _until(lambda: "ready at" in said.read_text(), process)
            yield Server(re.findall(r"ready at (\S+)", said.read_text())[0], process.pid)


@contextmanager
def peer(name: str, model: str) -> Iterator[Server]:
    """One of PEERS around the same solve."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", f"benchmarks.speed_{name}", str(port), model]
    with _process(words, subprocess.DEVNULL, dict(os.environ)) as process:
        url = f"http://127.0.0.1:{port}"
        _until(lambda: _answers(f"{url}/health"), process)
        yield Server(url, process.pid)


@contextmanager
def _process(words: list[str], out: object, env: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process group that ends with the block."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *words],
        stdout=out,  # type: ignore[call-overload]
        stderr=subprocess.DEVNULL,
        env={**env, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if process.poll() is not None:
            raise TimeoutError(f"the server ended with {process.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server was not ready within {START_S:g} s")
        time.sleep(0.1)
