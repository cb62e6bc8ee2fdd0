"""The worker's side of the queue: take, batch, run, book; survive everything."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from redis.exceptions import RedisError

from service.queue.batching import (
    Abandoned,
    Done,
    Entry,
    Finished,
    Handler,
    Observer,
    Outcome,
    Rescuer,
    Running,
    WorkerConfig,
    groups,
    parse_entries,
)
from service.queue.connection import Outage, connect, is_outage
from service.queue.heartbeat import Heartbeat, Held
from service.queue.keys import GROUP, Keys
from service.queue.lua import Scripts
from service.queue.neighbours import Neighbours
from service.queue.records import Limits
from service.queue.upkeep import Upkeep

__all__ = ["Finished", "Handler", "Observer", "Outcome", "Worker", "WorkerConfig"]

T = TypeVar("T")
LONGEST_REASON = 300
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
        self._handler = handler
        self._observer = observer
        self._rescuer = rescuer
        self._config = config
        self._limits = limits
        self._info = {"host": socket.gethostname(), "pid": str(os.getpid()), **info}
        self._keys = keys or Keys()
        self._client = connect(redis_url)
        self._scripts = Scripts(self._client, self._keys)
        self._upkeep = Upkeep(self._client, self._keys, self.id, config, limits, neighbours)
        self._held = held or Held()
        self._outage = Outage()
        self._stopping = False  # a plain flag: stop() is called from signal handlers, where locks can deadlock
        self._claims = 0
        self._expected = 1  # entries that came together last time

    def run(self) -> None:
        """Works until ``stop()``; returns when the running batch is booked and the worker is deregistered."""
        self._persist(lambda: self._scripts.run("group"))
        ttl_s = max(3 * self._config.heartbeat_s, self._limits.lease_s)
        heartbeat = Heartbeat(self._url, self._keys, self.id, self._info, self._held, self._config.heartbeat_s, ttl_s)
        heartbeat.start()
        self._upkeep.begin()
        log.info("worker_started", worker=self.id)
        try:
            while not self._stopping:
                self._turn()
        finally:
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
            entries = self._hold(self._upkeep.reclaim_if_due()) or self._read()
            self._outage.over()
            for group in groups(entries, self._config.batch_items):
                if not self._stopping:
                    self._run_group(group)
        except RedisError as error:
            if is_outage(error):
                self._forget(error)
                return
            if not str(error).startswith(GROUP_GONE):
                raise
            self._held.clear()  # the server came back without its data
            self._persist(lambda: self._scripts.run("group"))

    def _forget(self, error: Exception) -> None:
        """What a failed read may have taken is left to be reclaimed: its lease must not be renewed."""
        self._held.clear()
        self._outage.met(error, lambda: self._stopping)

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

    def _take(self, entries: Sequence[Entry]) -> list[Entry]:
        room = self._room(entries)
        return self._hold(parse_entries(self._scripts.run("take", self.id, room, len(entries)))) if room > 0 else []

    def _room(self, entries: Sequence[Entry]) -> int:
        return self._config.batch_items - sum(entry.items for entry in entries)

    def _hold(self, entries: list[Entry]) -> list[Entry]:
        self._held.add(entry.id for entry in entries)
        return entries

    def _run_group(self, entries: list[Entry]) -> None:
        """Runs a group as one batch; members that have been tried before, or failed just now, run alone."""
        spec, batch, alone = self._begin(entries, alone=len(entries) == 1)
        if batch:
            alone += self._run_batch(spec, batch)
        self._held.drop({entry.id for entry in entries} - {entry.id for entry in alone})
        for entry in alone:
            if self._stopping:
                return
            spec, single, _ = self._begin([entry], alone=True)
            if single:
                self._run_batch(spec, single)
            self._held.drop([entry.id])

    def _run_batch(self, spec: str, batch: list[Running]) -> list[Entry]:
        """Runs and books a batch; answers what must be run again alone."""
        began_at, started = time.time(), time.monotonic()
        try:
            with self._held.running(running.entry.id for running in batch):
                outcomes = self._outcomes(spec, batch)
        except Abandoned:
            log.info("batch_abandoned", worker=self.id, chunks=[running.entry.chunk for running in batch])
            return []
        except Exception as error:
            log.exception("handler_failed", worker=self.id, chunks=[running.entry.chunk for running in batch])
            if len(batch) > 1:
                return [running.entry for running in batch]
            self._complete([Done(batch[0], None, _reason(error))], 0.0)
            self._tell(lambda observer: observer.poisoned(batch[0].entry.items))
            return []
        compute_s = time.monotonic() - started
        done = [Done(running, outcome) for running, outcome in zip(batch, outcomes, strict=True)]
        items = sum(running.entry.items for running in batch)
        booked = self._complete(done, items / max(compute_s, 1e-6))
        ours = tuple(one for one, mine in zip(done, booked, strict=True) if mine)
        self._tell(lambda observer: observer.finished(Finished(spec, ours, items, began_at, compute_s)))
        return []

    def _tell(self, what: Callable[[Observer], None]) -> None:
        """Watching must never cost anybody their answer."""
        if self._observer is None:
            return
        try:
            what(self._observer)
        except Exception as error:
            log.warning("observer_failed", worker=self.id, error=_reason(error))

    def _outcomes(self, spec: str, batch: list[Running]) -> Sequence[Outcome]:
        rescuer, first = self._rescuer, batch[0]
        if rescuer is not None and first.attempt >= self._limits.max_attempts:
            return [rescuer(spec, first.payload, None)]
        try:
            outcomes = self._handler(spec, [running.payload for running in batch])
        except Exception as error:
            if rescuer is None or len(batch) > 1 or isinstance(error, Abandoned):
                raise
            log.warning("handler_failed_alone", worker=self.id, chunk=first.entry.chunk, error=_reason(error))
            return [rescuer(spec, first.payload, error)]
        if len(outcomes) != len(batch):
            raise RuntimeError(f"the handler gave {len(outcomes)} outcomes for {len(batch)} payloads")
        return outcomes

    def _begin(self, entries: list[Entry], alone: bool) -> tuple[str, list[Running], list[Entry]]:
        """Claims the entries: their spec, those to run now, and those to be asked for again one by one."""
        limits = self._limits
        self._claims += 1  # names this call: repeated after a lost answer, it must not count a second attempt
        most = limits.max_attempts + (0 if self._rescuer is None else SPARE_ATTEMPTS)
        rules = (self._claims, int(alone), most, limits.result_ttl_s, limits.record_ttl_s)
        words = [word for entry in entries for word in (entry.chunk, entry.id)]
        spec, *verdicts = self._persist(lambda: self._scripts.run("begin", self.id, *rules, *words))
        answers = list(zip(entries, verdicts, strict=True))
        batch = [Running(entry, answer[1], answer[2]) for entry, answer in answers if answer[0] == b"run"]
        again = [entry for entry, answer in answers if answer[0] == b"alone"]
        if repeated := sum(running.attempt > 1 for running in batch):
            self._tell(lambda observer: observer.redelivered(repeated))
        if given_up := sum(entry.items for entry, answer in answers if answer[0] == b"failed"):
            self._tell(lambda observer: observer.poisoned(given_up))
        return spec.decode(), batch, again

    def _complete(self, done: list[Done], rate: float) -> Sequence[int]:
        """Books what is still ours; answers 1 or 0 for each."""
        limits = self._limits
        words = [word for one in done for word in one.words()]
        head = (self.id, limits.result_ttl_s, limits.record_ttl_s, rate)
        booked: Sequence[int] = self._persist(lambda: self._scripts.run("complete", *head, *words))
        for one, ours in zip(done, booked, strict=True):
            if not ours:
                log.warning("result_discarded", worker=self.id, chunk=one.running.entry.chunk)
        return booked

    def _persist(self, call: Callable[[], T]) -> T:
        """Calls until the server answers; when stopping, for at most one more lease: by then others take over."""
        stop_by: float | None = None
        while True:
            try:
                answer = call()
            except RedisError as error:
                if not is_outage(error):
                    raise
                if self._stopping:
                    stop_by = stop_by or time.monotonic() + self._limits.lease_s
                if stop_by is not None and time.monotonic() > stop_by:
                    raise
                self._outage.met(error, lambda: False)
                continue
            self._outage.over()
            return answer

    def _leave(self) -> None:
        try:
            pending = self._scripts.run("leave", self.id, self._limits.lease_s)
        except RedisError as error:
            log.warning("worker_not_deregistered", worker=self.id, error=str(error))
            return
        log.info("worker_stopped", worker=self.id, pending=pending)


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
