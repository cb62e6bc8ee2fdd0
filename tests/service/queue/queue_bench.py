"""What the queue's tests are built with: a bench with real workers as threads and as processes."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from service.queue.batching import Staged
from service.queue.heartbeat import Held
from service.queue.jobs import Chunk, JobStore, Limits, NewJob
from service.queue.keys import GROUP, Keys
from service.queue.neighbours import Neighbours
from service.queue.worker import Handler, Observer, Outcome, Worker, WorkerConfig

PROCESS = Path(__file__).with_name("worker_process.py")
LIMITS = Limits(lease_s=30.0, max_attempts=2)  # no machine is so busy that a living worker misses its lease
SHORT = replace(LIMITS, lease_s=0.6)  # of who takes over: what has been silent for so long
CONFIG = WorkerConfig(window_ms=2.0, block_ms=50, heartbeat_s=0.1, reclaim_every_s=0.1, sweep_every_s=0.2)


@dataclass
class Recorder:
    """A handler that notes its batches and echoes; ``react`` may raise or wait first."""

    react: Callable[[Sequence[bytes]], object] = lambda payloads: None
    batches: list[tuple[str, list[bytes]]] = field(default_factory=list)

    def __call__(self, spec: str, payloads: Sequence[bytes]) -> list[Outcome]:
        self.batches.append((spec, list(payloads)))
        self.react(payloads)
        return [Outcome({"echo": payload}, failed=payload.count(b"!")) for payload in payloads]


class Steps(Staged):
    """A handler in three steps that notes each, and echoes; ``react`` may raise or wait before a step is done.

    A step is noted as (its name, the payloads it is about).
    """

    def __init__(self, react: Callable[[str, Sequence[bytes]], object] = lambda step, payloads: None) -> None:
        self.react = react
        self.notes: list[tuple[str, tuple[bytes, ...]]] = []
        self._lock = threading.Lock()

    def decode(self, spec: str, payload: bytes) -> bytes:
        return self._step("decode", [payload])[0]

    def solve(self, spec: str, decoded: Sequence[bytes]) -> Sequence[bytes]:
        return self._step("solve", decoded)

    def encode(self, spec: str, solved: Sequence[bytes]) -> list[Outcome]:
        return [Outcome({"echo": payload}, 0) for payload in self._step("encode", solved)]

    def _step(self, step: str, payloads: Sequence[bytes]) -> Sequence[bytes]:
        with self._lock:
            self.notes.append((step, tuple(payloads)))
        self.react(step, payloads)
        return payloads

    def times(self, step: str) -> Counter[bytes]:
        """How often each payload was begun with, in that step."""
        return Counter(payload for name, payloads in self.notes if name == step for payload in payloads)


@dataclass(frozen=True)
class Bench:
    """What a test needs to build stores and workers that meet under one prefix."""

    url: str
    keys: Keys
    client: Any  # redis.Redis; its annotations leave open what comes back
    folder: Path
    stack: ExitStack

    @contextmanager
    def worker(
        self,
        handler: Handler,
        limits: Limits = LIMITS,
        config: WorkerConfig = CONFIG,
        url: str | None = None,
        observer: Observer | None = None,
        held: Held | None = None,
    ) -> Iterator[Worker]:
        """A worker in a thread; drained at the end."""
        info = {"device": "cpu", "engine": "test"}
        worker = Worker(
            url or self.url, handler, config, limits, info, self.keys, observer, neighbours=self.neighbours(), held=held
        )
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(60)
            assert not thread.is_alive()

    def neighbours(self) -> Neighbours:
        return Neighbours(self.folder / "neighbours", self.keys.prefix)

    def process(self, limits: Limits = LIMITS, config: WorkerConfig = CONFIG) -> "subprocess.Popen[bytes]":
        """A worker in a process; killed at the end of the test."""
        setup = {
            "url": self.url,
            "prefix": self.keys.prefix,
            "run_log": str(self.folder / "runs.log"),
            "limits": asdict(limits),
            "config": asdict(config),
            "folder": str(self.folder / "neighbours"),
        }
        command = [sys.executable, str(PROCESS), json.dumps(setup)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def runs(self) -> list[tuple[int, bytes]]:
        """(batch size, payload) of each run that a worker process noted."""
        path = self.folder / "runs.log"
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [(int(line.split(b" ", 1)[0]), line.split(b" ", 1)[1]) for line in lines]

    @property
    def gate(self) -> Path:
        """A payload ``held`` runs until this file is there."""
        return self.folder / "gate"

    @property
    def held(self) -> bytes:
        return f"until:{self.gate}".encode()

    def attempts(self, job_id: str, index: int) -> int:
        """How often a chunk was begun."""
        return int(self.client.hget(self.keys.chunk(f"{job_id}:{index}"), "attempts"))

    def pending(self) -> int:
        """Entries that were delivered and not acknowledged."""
        return int(self.client.xpending(self.keys.stream, GROUP)["pending"])

    def consumers(self) -> list[str]:
        """Names of the group's consumers."""
        return [consumer["name"].decode() for consumer in self.client.xinfo_consumers(self.keys.stream, GROUP)]


def job(*payloads: bytes, spec: str = "spec", key: str | None = None, digest: str = "d", items: int = 1) -> NewJob:
    """A job with one chunk a payload."""
    chunks = tuple(Chunk(payload, items) for payload in payloads)
    return NewJob("invert", "toy", spec, chunks, key, digest)


async def parts_of(store: JobStore, job_id: str) -> list[Mapping[str, bytes]]:
    """Each chunk's parts of a job, in order; raises as `JobStore.parts` does."""
    return await store.parts(await store.status(job_id))


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Waits for a condition; fails the test when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
