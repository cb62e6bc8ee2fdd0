"""A worker's claims: what it begins is its own, what it books counts once; both outlast the server's absence."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from service.queue.batching import Done, Entry, Observer, Running
from service.queue.connection import Outage, is_outage
from service.queue.lua import Scripts
from service.queue.records import Limits

T = TypeVar("T")
LONGEST_REASON = 300

log = structlog.get_logger(__name__)


class Claims:
    """One worker's. ``attempts``: how many a chunk has before it is given up. ``stopping``: whether it is to end.

    ``begin`` belongs to the thread that solves; the rest may be called beside it.
    """

    def __init__(
        self,
        scripts: Scripts,
        worker_id: str,
        limits: Limits,
        attempts: int,
        observer: Observer | None,
        stopping: Callable[[], bool],
    ) -> None:
        self.worker_id = worker_id
        self._scripts = scripts
        self._limits = limits
        self._attempts = attempts
        self._observer = observer
        self._stopping = stopping
        self._calls = 0
        self.outage = Outage()

    def begin(
        self, entries: Sequence[Entry], alone: bool, payloads: Mapping[str, bytes]
    ) -> tuple[str, list[Running], list[Entry]]:
        """Claims the entries: their spec, those to run now, and those to be asked for again one by one.

        payloads: by chunk, if they are here already: all of them or none.
        """
        limits = self._limits
        self._calls += 1  # names this call: repeated after a lost answer, it must not count a second attempt
        rules = (self._calls, int(alone), self._attempts, limits.result_ttl_s, limits.record_ttl_s, int(not payloads))
        words = [word for entry in entries for word in (entry.chunk, entry.id)]
        spec, *verdicts = self.persist(lambda: self._scripts.run("begin", self.worker_id, *rules, *words))
        answers = list(zip(entries, verdicts, strict=True))
        runs = [(entry, answer) for entry, answer in answers if answer[0] == b"run"]
        running = [Running(entry, answer[1], payloads.get(entry.chunk, answer[2])) for entry, answer in runs]
        again = [entry for entry, answer in answers if answer[0] == b"alone"]
        if repeated := sum(one.attempt > 1 for one in running):
            self.tell(lambda observer: observer.redelivered(repeated))
        if given_up := sum(entry.items for entry, answer in answers if answer[0] == b"failed"):
            self.tell(lambda observer: observer.poisoned(given_up))
        return spec.decode(), running, again

    def complete(self, done: Sequence[Done], rate: float) -> Sequence[int]:
        """Books what is still ours; answers 1 or 0 for each."""
        limits = self._limits
        words = [word for one in done for word in one.words()]
        head = (self.worker_id, limits.result_ttl_s, limits.record_ttl_s, rate)
        booked: Sequence[int] = self.persist(lambda: self._scripts.run("complete", *head, *words))
        for one, ours in zip(done, booked, strict=True):
            if not ours:
                log.warning("result_discarded", worker=self.worker_id, chunk=one.running.entry.chunk)
        return booked

    def tell(self, what: Callable[[Observer], None]) -> None:
        """Watching must never cost anybody their answer."""
        if self._observer is None:
            return
        try:
            what(self._observer)
        except Exception as error:
            log.warning("observer_failed", worker=self.worker_id, error=reason_of(error))

    def persist(self, call: Callable[[], T]) -> T:
        """Calls until the server answers; when stopping, for at most one more lease: by then others take over."""
        stop_by: float | None = None
        while True:
            try:
                answer = call()
            except RedisError as error:
                if not is_outage(error):
                    raise
                if self._stopping():
                    stop_by = stop_by or time.monotonic() + self._limits.lease_s
                if stop_by is not None and time.monotonic() > stop_by:
                    raise
                self.outage.met(error, lambda: False)
                continue
            self.outage.over()
            return answer


def reason_of(error: Exception) -> str:
    """An error as a job's record tells it."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
