"""The worker's side of the queue: take, batch, run, book; survive everything."""

import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from service.queue.batching import (
    Entry,
    Finished,
    Group,
    Handler,
    InOneStep,
    Observer,
    Outcome,
    Rescuer,
    Staged,
    WorkerConfig,
    groups,
    parse_entries,
)
from service.queue.beside import Beside
from service.queue.claims import Claims, reason_of
from service.queue.connection import connect, is_outage
from service.queue.heartbeat import Heartbeat, Held
from service.queue.keys import GROUP, Keys
from service.queue.lua import Scripts
from service.queue.neighbours import Neighbours
from service.queue.records import Limits
from service.queue.runner import Batch, Runner, Solved
from service.queue.upkeep import Upkeep

__all__ = ["Finished", "Handler", "Observer", "Outcome", "Worker", "WorkerConfig"]

SPARE_ATTEMPTS = 2  # with a rescuer: what ends a worker that only watches is hardly the chunk
GROUP_GONE = (
    "NOGROUP",
    "UNBLOCKED",
    "no such key",
)  # the second comes while blocked, from Redis 7.0; the last, to take

log = structlog.get_logger(__name__)


class Worker:
    """Runs ``handler`` on what the queue holds, from ``run()`` until ``stop()``.

    ``info`` describes the worker to the API: device, engine, models (comma-separated). Lost work is taken over by
    others after ``limits.lease_s`` without a heartbeat; ``neighbours`` see each other die at once. ``rescuer`` takes
    what ``limits.max_attempts`` would give up. By ``held`` the handler can ask whether its batch is still wanted.
    """

    def __init__(
        self,
        redis_url: str,
        handler: Handler,
        config: WorkerConfig,
        limits: Limits,
        info: Mapping[str, str],
        keys: Keys | None = None,
        observer: Observer | None = None,
        rescuer: Rescuer | None = None,
        neighbours: Neighbours | None = None,
        held: Held | None = None,
    ) -> None:
        if config.heartbeat_s > limits.lease_s / 2:
            raise ValueError("heartbeat_s must be at most half of lease_s, or leases run out between two beats")
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._url = redis_url
        self._handler = handler if isinstance(handler, Staged) else InOneStep(handler)
        self._config = config
        self._limits = limits
        self._info = {"host": socket.gethostname(), "pid": str(os.getpid()), **info}
        self._keys = keys or Keys()
        self._client = connect(redis_url)
        self._scripts = Scripts(self._client, self._keys)
        self._upkeep = Upkeep(self._client, self._keys, self.id, config, limits, neighbours)
        self._held = held or Held()
        most = limits.max_attempts + (0 if rescuer is None else SPARE_ATTEMPTS)
        self._claims = Claims(self._scripts, self.id, limits, most, observer, lambda: self._stopping)
        self._runner = Runner(self._handler, self._claims, self._held, rescuer, limits.max_attempts)
        self._beside = Beside[Entry]("queue-beside")
        self._stopping = False  # a plain flag: stop() is called from signal handlers, where locks can deadlock
        self._expected = 1  # entries that came together last time
        self._full = False  # whether what came last fills a batch
        self._solve_s = 0.0  # what the last batch took

    def run(self) -> None:
        """Works until ``stop()``; returns when the running batch is booked and the worker is deregistered."""
        self._claims.persist(lambda: self._scripts.run("group"))
        ttl_s = max(3 * self._config.heartbeat_s, self._limits.lease_s)
        heartbeat = Heartbeat(self._url, self._keys, self.id, self._info, self._held, self._config.heartbeat_s, ttl_s)
        heartbeat.start()
        self._upkeep.begin()
        log.info("worker_started", worker=self.id)
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._beside.close()
            heartbeat.stop()
            self._leave()
            self._upkeep.end()
            self._client.close()

    def stop(self) -> None:
        """Begins nothing new from now on; what is held and not begun goes back. Safe in a signal handler."""
        self._stopping = True

    def _turn(self) -> None:
        try:
            self._upkeep.sweep_if_due()
            suspects = self._hold(self._upkeep.reclaim_if_due())
            entries = suspects or self._read()
            self._full = not suspects and self._is_full(entries)
            self._claims.outage.over()
            self._run_all(self._in_line(entries))
        except RedisError as error:
            if is_outage(error):
                self._forget(error)
                return
            if not str(error).startswith(GROUP_GONE):
                raise
            self._held.clear()  # the server came back without its data
            self._claims.persist(lambda: self._scripts.run("group"))

    def _forget(self, error: Exception) -> None:
        """What a failed read may have taken is left to be reclaimed: its lease must not be renewed."""
        self._held.clear()
        self._claims.outage.met(error, lambda: self._stopping)

    def _read(self) -> list[Entry]:
        """New work: waits for a first entry, then gathers what is there, and what the last batch lets expect.

        Alone, a request does not wait: only where the last batch held more entries is the window waited out. There,
        the next entries are hardly waited for either: one call takes what is there.
        """
        entries = self._take([]) if self._expected > 1 else []
        until = time.monotonic() + self._config.window_ms / 1000
        if not entries:
            raw: Any = self._client.xreadgroup(
                GROUP, self.id, {self._keys.stream: ">"}, count=1, block=self._config.block_ms
            )
            if not raw:
                return []
            until = time.monotonic() + self._config.window_ms / 1000
            entries = self._hold(parse_entries(raw[0][1]))
            entries += self._take(entries)
        more = len(entries) < self._expected and self._room(entries) > 0
        if more and (left_s := until - time.monotonic()) > 0:
            time.sleep(left_s)
            entries += self._take(entries)
        self._expected = len(entries)
        return entries

    def _take(self, entries: Sequence[Entry], only_full: bool = False) -> list[Entry]:
        room = self._room(entries)
        if room <= 0:
            return []
        return self._hold(parse_entries(self._scripts.run("take", self.id, room, len(entries), int(only_full))))

    def _room(self, entries: Sequence[Entry]) -> int:
        return self._config.batch_items - sum(entry.items for entry in entries)

    def _is_full(self, entries: Sequence[Entry]) -> bool:
        """Whether not one more like the largest of them would fit."""
        return self._room(entries) < max((entry.items for entry in entries), default=0)

    def _hold(self, entries: list[Entry]) -> list[Entry]:
        self._held.add(entry.id for entry in entries)
        return entries

    def _in_line(self, entries: Sequence[Entry]) -> deque[Group]:
        return deque(Group(group) for group in groups(entries, self._config.batch_items))

    def _run_all(self, line: deque[Group]) -> None:
        """Runs what is in line, and what joins it meanwhile; what fails beside is run again alone."""
        try:
            while line and not self._stopping:
                self._run_group(line.popleft(), line)
            self._run_alone(self._beside.wait())
        except BaseException:
            self._beside.drop()
            raise

    def _run_group(self, group: Group, line: deque[Group]) -> None:
        """Runs a group as one batch; members that have been tried before, or failed just now, run alone."""
        entries, overlap = group.entries, self._full and self._solve_s < self._config.overlap_up_to_s
        spec, running, again = self._claims.begin(entries, len(entries) == 1, group.payloads)
        kept = [*(one.entry for one in running), *again]
        self._held.drop({entry.id for entry in entries} - {entry.id for entry in kept})
        if not (running and overlap):
            again += self._beside.wait()
        if running:
            decoded = [group.decoded[one.entry.chunk] for one in running] if group.decoded else None
            batch = Batch(spec, running, overlap or len(running) > 1, decoded)
            again += self._run_beside(batch, line) if overlap else self._run_batch(batch)
        self._run_alone(again)

    def _run_batch(self, batch: Batch) -> list[Entry]:
        """Runs and books a batch; answers what must be run again alone."""
        solved, again = self._solve(batch)
        return again + self._runner.finish(solved) if solved is not None else again

    def _solve(self, batch: Batch) -> tuple[Solved | None, list[Entry]]:
        solved, again = self._runner.solve(batch)
        if solved is not None:
            self._solve_s = solved.took_s
        return solved, again

    def _run_beside(self, batch: Batch, line: deque[Group]) -> list[Entry]:
        """Solves a batch while the last one is booked and the next one taken; books it then, beside the next."""
        self._beside.give(lambda: self._look_ahead(line))
        solved, again = self._solve(batch)
        again += self._beside.wait()
        if solved is None:
            return again
        if again or not line or self._stopping:  # what is run alone must not take others down with it
            return again + self._runner.finish(solved)
        self._beside.give(lambda: self._runner.finish(solved))
        return []

    def _look_ahead(self, line: deque[Group]) -> list[Entry]:
        """Takes the next batch, but only a full one, and decodes it; what fails here will be done, or fail, in time."""
        try:
            if not (line or self._stopping or self._upkeep.is_due()):
                line.extend(self._in_line(self._take([], only_full=True)))
            if line and not line[0].payloads:
                self._decode(line[0])
        except Exception as error:
            log.debug("not_looked_ahead", worker=self.id, error=reason_of(error))
        return []

    def _decode(self, group: Group) -> None:
        """Nothing is claimed yet: who dies now has cost nobody an attempt."""
        chunks = [entry.chunk for entry in group.entries]
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.hget(self._keys.job(chunks[0].rpartition(":")[0]), "spec")
            pipeline.mget([self._keys.payload(chunk) for chunk in chunks])
            spec, payloads = pipeline.execute()
        if spec is None or None in payloads:  # canceled meanwhile
            return
        group.payloads = dict(zip(chunks, payloads, strict=True))
        group.decoded = {chunk: self._handler.decode(spec.decode(), data) for chunk, data in group.payloads.items()}

    def _run_alone(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if self._stopping:
                return
            spec, running, _ = self._claims.begin([entry], True, {})
            if running:
                self._run_batch(Batch(spec, running, in_company=False))
            self._held.drop([entry.id])

    def _leave(self) -> None:
        try:
            pending = self._scripts.run("leave", self.id, self._limits.lease_s)
        except RedisError as error:
            log.warning("worker_not_deregistered", worker=self.id, error=str(error))
            return
        log.info("worker_stopped", worker=self.id, pending=pending)
