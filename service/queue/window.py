"""The last diagnostics of each model, kept in Redis: written by every worker, read by every API."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from service.queue.connection import connect, outages_told
from service.queue.keys import Keys
from service.queue.lua import AsyncScripts, Scripts

DIGITS: Final = 9  # float32 survives them
NO_DATA: Final = "no_data"
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sample:
    """What an operator wants to know of one answer."""

    rjcp: float
    residual_to_noise: float
    p_value: float
    verdict: str

    def line(self) -> str:
        """As text, for Redis."""
        return f"{self.rjcp:.{DIGITS}g} {self.residual_to_noise:.{DIGITS}g} {self.p_value:.{DIGITS}g} {self.verdict}"


@dataclass(frozen=True)
class Timed:
    """A sample and when it was written (unix seconds, the server's clock)."""

    at: float
    sample: Sample


@dataclass(frozen=True)
class Bounds:
    """A window holds at most ``items``, none older than ``age_s``."""

    items: int = 1000
    age_s: float = 21_600.0

    def __post_init__(self) -> None:
        if self.items < 1 or self.age_s <= 0:
            raise ValueError("a window holds at least one item for some time")


@dataclass(frozen=True)
class Standing:
    """A model's state and since when (unix seconds; None before it was ever judged)."""

    state: str = NO_DATA
    since: float | None = None


class Pushing(Protocol):
    """Where a worker's samples go."""

    def push(self, windows: Mapping[str, Sequence[Sample]]) -> None:
        """Appends to the named windows."""


class WindowWriter:
    """The workers' side. One instance belongs to one thread."""

    def __init__(self, redis_url: str, bounds: Bounds, keys: Keys | None = None) -> None:
        self._client = connect(redis_url)
        self._scripts = Scripts(self._client, keys or Keys())
        self.bounds = bounds

    def push(self, windows: Mapping[str, Sequence[Sample]]) -> None:
        """Appends to the named windows in one round trip; raises what redis-py raises."""
        words: list[str | int] = []
        for name, samples in windows.items():
            kept = samples[-self.bounds.items :]
            words += [name, len(kept), *(sample.line() for sample in kept)]
        if words:
            self._scripts.run("remember", self.bounds.items, self.bounds.age_s, *words)

    def close(self) -> None:
        """Ends its connection."""
        self._client.close()


class Gathered:
    """Windows written by a thread of its own, which takes what came within PAUSE_S in one round trip.

    Each write has the server wait for its disk: one a batch would hold up the batches themselves. What is gathered
    while the server is away is lost, and the log says so.
    """

    PAUSE_S = 0.1

    def __init__(self, writer: WindowWriter) -> None:
        self._writer = writer
        self._lock, self._some, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._samples: dict[str, list[Sample]] = {}
        self._thread = threading.Thread(target=self._run, name="window-writer", daemon=True)
        self._thread.start()

    def push(self, windows: Mapping[str, Sequence[Sample]]) -> None:
        """Appends to the named windows, soon."""
        with self._lock:
            for name, samples in windows.items():
                kept = self._samples.setdefault(name, [])
                kept.extend(samples)
                del kept[: -self._writer.bounds.items]
        self._some.set()

    def close(self) -> None:
        """Writes what is left, and ends the thread and the writer's connection."""
        self._closed.set()
        self._some.set()
        self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._some.wait()
            self._closed.wait(self.PAUSE_S)
            with self._lock:
                samples, self._samples = self._samples, {}
                self._some.clear()
            try:
                self._writer.push(samples)
            except (RedisError, OSError) as error:
                log.warning("window_not_written", error=str(error))


class Windows:
    """The API's side. The client stays the caller's to close; every method raises QueueUnavailable."""

    def __init__(self, client: redis.asyncio.Redis, bounds: Bounds, keys: Keys | None = None) -> None:
        self._scripts = AsyncScripts(client, keys or Keys())
        self._bounds = bounds

    async def read(self, name: str) -> tuple[list[Timed], Standing]:
        """The window, oldest first, and how the model stood when it was last judged."""
        with outages_told():
            lines, state, since = await self._scripts.run("recall", name, self._bounds.items, self._bounds.age_s)
        standing = Standing(state.decode(), float(since)) if state else Standing()
        return [_timed(line.decode()) for line in lines], standing

    async def judge(self, name: str, before: Standing, state: str) -> Standing:
        """Writes a new state unless somebody else has judged meanwhile; answers how the model stands now."""
        with outages_told():
            state_now, since = await self._scripts.run("judge", name, before.state, state)
        return Standing(state_now.decode(), float(since))


def _timed(line: str) -> Timed:
    at, rjcp, residual, p_value, verdict = line.split(" ")
    return Timed(float(at), Sample(float(rjcp), float(residual), float(p_value), verdict))
