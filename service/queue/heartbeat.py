"""Keeps a worker registered and its leases fresh, whatever the solver is doing, and tells how far that has come."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from redis.exceptions import RedisError

from service.queue.connection import connect
from service.queue.keys import Keys
from service.queue.lua import Scripts

log = structlog.get_logger(__name__)


class Held:
    """The entry ids a worker holds, and which of them it runs at the moment; shared between its two threads.

    The handler asks ``wanted`` now and then: a batch that was canceled, or that others have taken over, need not be
    computed to its end. By ``advance`` it says how far it has come.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._running: set[str] = set()
        self._part = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def running(self, ids: Iterable[str]) -> Iterator[None]:
        """While inside, a batch of these is run."""
        self._part, self._running = 0.0, set(ids)
        try:
            yield
        finally:
            self._running = set()

    def wanted(self) -> bool:
        """Whether anything of what is run is still held; True when nothing is run."""
        with self._lock:
            return not self._running or not self._running.isdisjoint(self._ids)

    def advance(self, part: float) -> None:
        """Notes that this part of what is run is done, 0 to 1."""
        self._part = part

    def parts(self) -> dict[str, float]:
        """Of each that is held, the part that is done."""
        with self._lock:
            return {each: self._part if each in self._running else 0.0 for each in self._ids}

    def add(self, ids: Iterable[str]) -> None:
        with self._lock:
            self._ids.update(ids)

    def drop(self, ids: Iterable[str]) -> None:
        with self._lock:
            self._ids.difference_update(ids)

    def clear(self) -> None:
        with self._lock:
            self._ids.clear()


class Heartbeat:
    """A thread with a connection of its own. ``ttl_s``: how long the registration outlives the last beat."""

    def __init__(
        self, url: str, keys: Keys, worker_id: str, info: Mapping[str, str], held: Held, period_s: float, ttl_s: float
    ) -> None:
        self._client = connect(url)
        self._scripts = Scripts(self._client, keys)
        self._worker_id = worker_id
        self._words = [word for pair in info.items() for word in pair]
        self._held = held
        self._period_s = period_s
        self._ttl_s = ttl_s
        self._stopped = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="queue-heartbeat", daemon=True)

    def start(self) -> None:
        """Starts beating; the first beat registers the worker."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and its connection."""
        self._stopped.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while True:
            self._beat()
            if self._stopped.wait(self._period_s):
                return

    def _beat(self) -> None:
        try:
            words = self._words
            held = [word for each, part in self._held.parts().items() for word in (each, round(1000 * part))]
            lost = self._scripts.run("heartbeat", self._worker_id, self._ttl_s, len(words), *words, *held)
        except (RedisError, OSError) as error:
            # One line per outage; the worker's main thread waits for the server and says when it is back.
            if not self._failing:
                log.warning("heartbeat_failed", worker=self._worker_id, error=str(error))
            self._failing = True
            return
        self._failing = False
        if lost:
            # Either finished a moment ago, or taken over; the scripts fence both. Only leases end here.
            self._held.drop(entry.decode() for entry in lost)
