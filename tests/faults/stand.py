"""A whole service that can be hurt at every joint: queue server, a proxy before it for each side, APIs and workers."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from service.settings import CHECKPOINTS
from service.supervisor import listen
from tests.faults.proxy import Proxy
from tests.faults.servers import QueueServer
from tests.service.conftest import alive

ROOT = Path(__file__).parents[2]
MODEL = "oscillator"


class Stand:
    """API and workers are forked from one process that has all loaded; each side has a proxy to the queue server."""

    def __init__(self, server: QueueServer, api_side: Proxy, worker_side: Proxy, zygote: Any, folder: Path, url: str):
        self.server, self.api_side, self.worker_side = server, api_side, worker_side
        self.folder, self.url = folder, url
        self.kind = "worker"
        self.workers: list[int] = []
        self.pace_s, self.backlog_items = 1.0, 2000  # how much room faults leave each other; how much load waits
        self.items_a_kill = 0  # so many items are put in at least while workers are killed
        self.api = 0
        self._zygote = zygote

    def start_api(self) -> None:
        self.api = self._fork("api", self.api_side.port)

    def start_worker(self, kind: str | None = None) -> int:
        self.workers.append(self._fork(kind or self.kind, self.worker_side.port))
        return self.workers[-1]

    def runs(self, pid: int) -> bool:
        """Whether a worker runs a batch at this moment."""
        return (self.folder / "running" / str(pid)).exists()

    def restart_dead_workers(self) -> int:
        """What a supervisor does; the number of dead ones."""
        dead = [pid for pid in self.workers if not alive(pid)]
        for pid in dead:
            self.workers.remove(pid)
            self.start_worker()
        return len(dead)

    def kill_worker(self, pid: int) -> bool:
        """SIGKILL, and another is started; whether it died in the middle of a batch."""
        os.kill(pid, signal.SIGKILL)
        self._gone(pid)
        return self.runs(pid)

    def drain_worker(self, pid: int) -> None:
        """SIGTERM; returns once it has finished what it holds and is gone, and another has been started."""
        os.kill(pid, signal.SIGTERM)
        self._gone(pid)

    def stop_worker(self, pid: int) -> None:
        """SIGKILL, and nobody comes in its place."""
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid))
        self.workers.remove(pid)

    def kill_api(self) -> None:
        os.kill(self.api, signal.SIGKILL)
        wait_for(lambda: not alive(self.api))
        self.start_api()

    def busy_worker(self, choice: random.Random, timeout_s: float = 120.0) -> int:
        """A worker that runs a batch at this moment."""
        return int(wait_for(lambda: self._running(choice), timeout_s))

    def noted(self, name: str) -> int:
        """The sum of what the workers wrote into a log: finished, redelivered or poisoned."""
        path = self.folder / f"{name}.log"
        return sum(int(line) for line in path.read_text().split()) if path.exists() else 0

    def _running(self, choice: random.Random) -> int | None:
        marked = {int(path.name) for path in (self.folder / "running").iterdir()}
        running = [pid for pid in self.workers if pid in marked]
        return choice.choice(running) if running else None

    def _gone(self, pid: int) -> None:
        wait_for(lambda: not alive(pid))
        self.workers.remove(pid)
        self.start_worker()

    def _fork(self, kind: str, port: int) -> int:
        self._zygote.stdin.write(f"{kind} redis://127.0.0.1:{port}/0\n".encode())
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())


@contextmanager
def stand(
    binary: Path,
    folder: Path,
    workers: int = 2,
    pause_s: float = 0.0,
    kind: str = "worker",
    models: Sequence[str] = (MODEL,),
    **settings: str,
) -> Iterator[Stand]:
    """A running service in ``folder``; everything that belongs to it ends with the block.

    kind: ``worker``, or ``hurtful`` (tests.faults.hurtful).
    pause_s: how long a batch is held back before it is solved, so that a fault can find it running.
    """
    _furnish(folder, models)
    with ExitStack() as stack:
        server = stack.enter_context(QueueServer(binary, folder / "data"))
        api_side = stack.enter_context(Proxy(server.port))
        worker_side = stack.enter_context(Proxy(server.port))
        listening = stack.enter_context(listen("127.0.0.1", 0))
        env = {**os.environ, "DECEPTRON_CHECKPOINTS": str(folder / "checkpoints"), "DECEPTRON_DEVICE": "cpu"}
        env |= {"OMP_NUM_THREADS": "1", "REDIS_URL": server.url, "DECEPTRON_DATA_DIR": str(folder / "data"), **settings}
        log = stack.enter_context((folder / "service.log").open("wb"))
        command = [sys.executable, "-m", "tests.faults.zygote", str(folder), str(listening.fileno()), str(pause_s)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        zygote = subprocess.Popen(command, cwd=ROOT, env=env, pass_fds=(listening.fileno(),), **pipes)
        stack.callback(_end, zygote)
        assert zygote.stdout is not None
        assert zygote.stdout.readline() == b"ready\n", (folder / "service.log").read_text()[-3000:]
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        made = Stand(server, api_side, worker_side, zygote, folder, url)
        made.kind = kind
        stack.callback(lambda: _kill([made.api, *made.workers]))
        made.start_api()
        for _ in range(workers):
            made.start_worker()
        wait_for(lambda: ready(url) == 200)
        yield made


def _furnish(folder: Path, models: Sequence[str]) -> None:
    (folder / "running").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "checkpoints").mkdir()
    for model in models:
        (folder / "checkpoints" / model).symlink_to(CHECKPOINTS / model)


def ready(url: str) -> int:
    """The status of /health/ready; 0 when nobody answers."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=30, trust_env=False).status_code
    except httpx.TransportError:
        return 0


def wait_for(condition: Callable[[], Any], timeout_s: float = 120.0) -> Any:
    """The first true value of a condition; fails when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not so after {timeout_s:g} s"
        time.sleep(0.005)
    return value


def _kill(pids: list[int]) -> None:
    for pid in pids:
        if pid and alive(pid):
            os.kill(pid, signal.SIGKILL)


def _end(zygote: "subprocess.Popen[bytes]") -> None:
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    zygote.stdin.close()
    zygote.wait()
    zygote.stdout.close()
