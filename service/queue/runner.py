"""A claimed batch on its way: decoded and solved, then encoded and booked; and what becomes of one that fails."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from service.queue.batching import Abandoned, Done, Entry, Finished, Outcome, Rescuer, Running, Staged
from service.queue.claims import Claims, reason_of
from service.queue.heartbeat import Held

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Batch:
    """Claimed chunks of one spec. ``decoded``: what was made of their payloads, if anything was yet.

    In company (of each other, or of a batch that is booked meanwhile) whatever fails is run again alone; alone, it is
    rescued or given up.
    """

    spec: str
    running: Sequence[Running]
    in_company: bool
    decoded: Sequence[Any] | None = None

    @property
    def chunks(self) -> list[str]:
        return [one.entry.chunk for one in self.running]

    @property
    def entries(self) -> list[Entry]:
        return [one.entry for one in self.running]

    @property
    def items(self) -> int:
        return sum(one.entry.items for one in self.running)


@dataclass(frozen=True)
class Solved:
    """A batch that is yet to be encoded and booked: when it began (unix seconds), and what it took so far."""

    batch: Batch
    encode: Callable[[], Sequence[Outcome]]
    began_at: float
    took_s: float


class Runner:
    """Runs the batches of one worker; ``solve`` belongs to one thread, ``finish`` may be called beside it.

    ``rescue_at``: the attempt from which on a chunk is the rescuer's.
    """

    def __init__(self, handler: Staged, claims: Claims, held: Held, rescuer: Rescuer | None, rescue_at: int) -> None:
        self._handler, self._claims, self._held = handler, claims, held
        self._rescuer, self._rescue_at = rescuer, rescue_at

    def solve(self, batch: Batch) -> tuple[Solved | None, list[Entry]]:
        """Decodes and solves; answers that, and what must be run again alone."""
        began_at, started = time.time(), time.monotonic()
        with self._held.running(entry.id for entry in batch.entries):
            encode, again = self._tried(batch, lambda: self._work(batch))
        took_s = time.monotonic() - started
        return (Solved(batch, encode, began_at, took_s) if encode is not None else None), again

    def finish(self, solved: Solved) -> list[Entry]:
        """Encodes and books; answers what must be run again alone."""
        started, batch = time.monotonic(), solved.batch
        outcomes, again = self._tried(batch, solved.encode)
        if outcomes is None:
            return again
        took_s = solved.took_s + time.monotonic() - started
        done = [Done(running, outcome) for running, outcome in zip(batch.running, outcomes, strict=True)]
        booked = self._claims.complete(done, batch.items / max(took_s, 1e-6))
        ours = tuple(one for one, mine in zip(done, booked, strict=True) if mine)
        finished = Finished(batch.spec, ours, batch.items, solved.began_at, took_s)
        self._claims.tell(lambda observer: observer.finished(finished))
        self._held.drop(entry.id for entry in batch.entries)
        return []

    def _tried(self, batch: Batch, step: Callable[[], T]) -> tuple[T | None, list[Entry]]:
        """What a step gives, or None and what must be run again alone; the rest has ended then."""
        again: list[Entry] = []
        try:
            return step(), again
        except Abandoned:
            log.info("batch_abandoned", worker=self._claims.worker_id, chunks=batch.chunks)
        except Exception as error:
            log.exception("handler_failed", worker=self._claims.worker_id, chunks=batch.chunks)
            if batch.in_company:
                again = batch.entries
            else:
                self._give_up(batch, reason_of(error))
        self._held.drop({entry.id for entry in batch.entries} - {entry.id for entry in again})
        return None, again

    def _give_up(self, batch: Batch, reason: str) -> None:
        self._claims.complete([Done(running, None, reason) for running in batch.running], 0.0)
        self._claims.tell(lambda observer: observer.poisoned(batch.items))

    def _work(self, batch: Batch) -> Callable[[], Sequence[Outcome]]:
        """What is left to do once the batch is solved: nothing, for one alone, whose rescuer sees every step fail."""
        spec, first = batch.spec, batch.running[0]
        if self._rescuer is not None and first.attempt >= self._rescue_at:
            outcome = self._rescuer(spec, first.payload, None)
            return lambda: [outcome]
        if self._rescuer is None or batch.in_company:
            return self._solved(batch)
        try:
            outcomes = self._solved(batch)()
        except Abandoned:
            raise
        except Exception as error:
            log.warning(
                "handler_failed_alone", worker=self._claims.worker_id, chunk=first.entry.chunk, error=reason_of(error)
            )
            outcomes = [self._rescuer(spec, first.payload, error)]
        return lambda: outcomes

    def _solved(self, batch: Batch) -> Callable[[], Sequence[Outcome]]:
        spec, decoded = batch.spec, batch.decoded
        if decoded is None:
            decoded = [self._handler.decode(spec, running.payload) for running in batch.running]
        solved = self._handler.solve(spec, decoded)

        def encode() -> Sequence[Outcome]:
            outcomes = self._handler.encode(spec, solved)
            if len(outcomes) != len(batch.running):
                raise RuntimeError(f"the handler gave {len(outcomes)} outcomes for {len(batch.running)} payloads")
            return outcomes

        return encode
