"""What a worker does beside its own work: take over from the dead, end what is overdue, keep the books straight."""

import time
from typing import Any

import redis
import structlog

from service.queue.batching import Entry, WorkerConfig, parse_entries
from service.queue.keys import GROUP, Keys
from service.queue.lua import Scripts
from service.queue.neighbours import Neighbours
from service.queue.records import Limits

RECLAIM_COUNT = 16  # taken over at once, so that several survivors share a dead worker's load

log = structlog.get_logger(__name__)


class Upkeep:
    """Each duty has a timer of its own; every worker does them all, so that no death can stop them."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        worker_id: str,
        config: WorkerConfig,
        limits: Limits,
        neighbours: Neighbours | None,
    ) -> None:
        self._client, self._keys, self._worker_id = client, keys, worker_id
        self._scripts = Scripts(client, keys)
        self._config, self._limits = config, limits
        self._neighbours = neighbours
        self._next_reclaim = self._next_sweep = 0.0
        self._cursor = "0-0"

    def begin(self) -> None:
        """From now on others see when this worker dies."""
        if self._neighbours is not None:
            self._neighbours.join(self._worker_id)

    def end(self) -> None:
        """The worker has left in order."""
        if self._neighbours is not None:
            self._neighbours.leave(self._worker_id)

    def is_due(self) -> bool:
        """Whether there is something to do."""
        return time.monotonic() >= min(self._next_reclaim, self._next_sweep)

    def sweep_if_due(self) -> None:
        """Tidies up after others, and ends jobs whose deadline has passed."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + self._config.sweep_every_s
        removed, items, size = self._scripts.run("sweep", self._config.sweep_every_s / 2)
        while ended := self._scripts.run("overdue", self._limits.result_ttl_s, self._limits.record_ttl_s, ""):
            log.warning("deadlines_passed", jobs=ended)
        if removed:
            log.info("stale_workers_removed", count=removed)
        if items or size:
            log.warning("queue_counters_repaired", items=items, bytes=size)

    def reclaim_if_due(self) -> list[Entry]:
        """What others hold no more; looked for on a timer, not only when new work arrives."""
        if time.monotonic() < self._next_reclaim:
            return []
        self._bury()
        idle_ms = int(self._limits.lease_s * 1000)
        while True:
            answer: Any = self._client.xautoclaim(
                self._keys.stream, GROUP, self._worker_id, idle_ms, start_id=self._cursor, count=RECLAIM_COUNT
            )
            self._cursor = answer[0].decode()
            entries = parse_entries(answer[1])
            if entries:
                log.warning("work_reclaimed", worker=self._worker_id, chunks=[entry.chunk for entry in entries])
                return entries
            if self._cursor == "0-0":
                self._next_reclaim = time.monotonic() + self._config.reclaim_every_s
                return []

    def _bury(self) -> None:
        """What a worker that died on this machine held goes back to the queue now."""
        for dead in self._neighbours.dead() if self._neighbours is not None else ():
            self._scripts.run("leave", dead, self._limits.lease_s)
            log.warning("neighbour_died", worker=self._worker_id, dead=dead)
