"""The API's side of the queue: submit, look, wait, cancel."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import redis.asyncio

from service.errors import (
    BodyTooLarge,
    IdempotencyConflict,
    JobGone,
    JobNotFinished,
    JobNotFound,
    QueueFull,
    QueueUnavailable,
)
from service.queue.connection import outages_told
from service.queue.keys import Keys, chunk_id, digest
from service.queue.listener import Listener, Watcher
from service.queue.lua import AsyncScripts
from service.queue.records import (
    ERROR_PART,
    ITEMS_PART,
    Chunk,
    Depth,
    JobStatus,
    Limits,
    NewJob,
    Submitted,
    WorkerInfo,
    parse_job,
    parse_worker,
)
from service.queue.together import Together

__all__ = [
    "ERROR_PART",
    "ITEMS_PART",
    "Chunk",
    "Depth",
    "JobStatus",
    "JobStore",
    "Limits",
    "NewJob",
    "Submitted",
    "WorkerInfo",
]

POLL_S = 1.0  # how stale a waiter may be when every message was lost
SUBSCRIBE_S = 0.25
EVENT_GAP_S = 0.05  # progress of a job with thousands of chunks is told at most this often
OUTAGE_S = 30.0  # how long an event stream sits out an absent server
RESULTS_PER_TRIP = 256
PING_S = 2.0


class JobStore:
    """Jobs in Redis. The client must give bytes (``decode_responses=False``); ``connect_async`` makes one.

    Every method raises QueueUnavailable while the server is away. One instance belongs to one event loop.
    """

    def __init__(self, client: redis.asyncio.Redis, limits: Limits, keys: Keys | None = None) -> None:
        self._client = client
        self._limits = limits
        self._keys = keys or Keys()
        self._scripts = AsyncScripts(client, self._keys)
        self._submits = Together(client, self._scripts, "submit")
        self._listener = Listener(client, self._keys)

    async def submit(self, new: NewJob) -> Submitted:
        """Queues a job, or finds the one that the same idempotency key made before.

        Raises QueueFull (with ``retry_after_s``), IdempotencyConflict, BodyTooLarge (larger than the whole queue).
        """
        return await self._submit(new, _new_id())

    async def run(self, new: NewJob, timeout_s: float) -> JobStatus:
        """Submits a job and waits for it: `submit` and `wait` with fewer looks. Raises as `submit` does."""
        job_id = _new_id()
        with self._listener.watch(job_id, only_end=True) as watcher:
            await self._listener.started(SUBSCRIBE_S)
            submitted = await self._submit(new, job_id, self._listener.id)
            if submitted.created:
                return await self._ended(job_id, watcher, _now() + timeout_s)
        return await self.wait(submitted.job_id, timeout_s)

    async def _submit(self, new: NewJob, job_id: str, waiter: str = "") -> Submitted:
        size = self._checked_size(new)
        name = digest(f"{new.owner}\n{new.idempotency_key}") if new.idempotency_key is not None else ""
        limits = self._limits
        head = (job_id, name, new.request_digest, new.kind, new.model, new.spec, digest(new.spec))
        deadline_s = min(new.deadline_s or limits.deadline_s, limits.deadline_s)
        times = (limits.idempotency_ttl_s, deadline_s)
        bounds = (limits.max_queued_items, limits.max_queued_bytes, *times, new.owner, new.trace, waiter)
        words = [*head, *bounds, *(part for chunk in new.chunks for part in (chunk.items, chunk.payload))]
        with outages_told():
            verdict, _, value = (await self._submits.run(words, size)).partition(b" ")
            if verdict == b"full" and await self._end_overdue():
                verdict, _, value = (await self._submits.run(words, size)).partition(b" ")
        if verdict == b"full":
            raise QueueFull("the job queue is full; try again later", retry_after_s=float(value))
        if verdict == b"conflict":
            raise IdempotencyConflict.at("Idempotency-Key", "was used before with a different request")
        return Submitted(value.decode(), verdict == b"created")

    async def status(self, job_id: str) -> JobStatus:
        """The job as it is now; raises JobNotFound."""
        record, deadline, now = await self._record(job_id)
        if deadline is not None and now >= deadline and await self._end_overdue(job_id):
            record, _, now = await self._record(job_id)
        if not record:
            raise JobNotFound(f"there is no job {job_id!r}")
        return parse_job(job_id, record, now)

    async def _record(self, job_id: str) -> tuple[dict[bytes, bytes], float | None, float]:
        """The job's record (empty: there is none), its deadline until it has ended, and the server's time."""
        with outages_told():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hgetall(self._keys.job(job_id))
            pipeline.zscore(self._keys.deadlines, job_id)
            pipeline.time()
            record, deadline, (seconds, microseconds) = await pipeline.execute()
        return record, deadline, seconds + microseconds / 1e6

    async def _end_overdue(self, job_id: str = "") -> int:
        """Ends the job, or some of all, whose deadlines have passed; answers how many that were."""
        limits = self._limits
        with outages_told():
            return int(await self._scripts.run("overdue", limits.result_ttl_s, limits.record_ttl_s, job_id))

    async def owner(self, job_id: str) -> str | None:
        """Whose job it is, as submitted; None when there is no such job."""
        with outages_told():
            found: Any = await self._client.hget(self._keys.job(job_id), "owner")
        return None if found is None else str(found.decode())

    async def parts(self, status: JobStatus, names: Sequence[str] = ()) -> list[Mapping[str, bytes]]:
        """Each chunk's parts, in order: all, or those named; raises JobNotFinished, JobGone.

        A chunk that failed as a whole has the parts ERROR_PART (why, UTF-8) and ITEMS_PART (how many items, decimal),
        whatever is named.
        """
        return [parts async for page in self.pages(status, names) for parts in page]

    async def pages(
        self, status: JobStatus, names: Sequence[str] = (), size: int = RESULTS_PER_TRIP
    ) -> AsyncIterator[list[Mapping[str, bytes]]]:
        """The same, so many chunks at a time: a job's whole result need not be in memory at once."""
        if not status.finished:
            raise JobNotFinished(f"job {status.id} is {status.status}: {status.done} of {status.total} items are done")
        if status.status == "canceled":
            raise JobGone(f"job {status.id} was canceled; it has no results")
        if status.results is not None:
            yield list(status.results)
            return
        for start in range(0, status.chunks, size):
            indices = range(start, min(start + size, status.chunks))
            found = [] if status.status == "expired" else await self._fetch(status.id, indices, names)
            if not found or not all(found):
                raise JobGone(f"the results of job {status.id} have expired")
            yield found

    async def wait(self, job_id: str, timeout_s: float) -> JobStatus:
        """The job once it has finished, or as it is after ``timeout_s``. Sits out a short absence of the server."""
        deadline = _now() + timeout_s
        with self._listener.watch(job_id, only_end=True) as watcher:
            await self._listener.started(min(SUBSCRIBE_S, max(timeout_s, 0.0)))
            status = await self.status(job_id)
            return status if status.finished else await self._ended(job_id, watcher, deadline)

    async def _ended(self, job_id: str, watcher: Watcher, deadline: float) -> JobStatus:
        """The job at its end or at the deadline, whichever is first; looked at when something was heard of it."""
        while True:
            end = await watcher.news(min(max(deadline - _now(), 0.0), POLL_S))
            if end is not None:
                return end
            status = await self._patient_status(job_id, deadline)
            if status.finished or self._listener.letting_go or _now() >= deadline:
                return status

    def let_go(self) -> None:
        """From now on nobody is kept waiting: whoever waits for a job's end gets the job as it is."""
        self._listener.let_go()

    async def events(self, job_id: str) -> AsyncIterator[JobStatus]:
        """The job now, then after each change; the last one is finished. Raises JobNotFound, also when purged."""
        with self._listener.watch(job_id) as watcher:
            await self._listener.started(SUBSCRIBE_S)
            status = await self.status(job_id)
            yield status
            while not status.finished:
                await watcher.news(POLL_S)
                before, status = status, await self._patient_status(job_id, _now() + OUTAGE_S)
                if status == before:
                    continue
                yield status
                await asyncio.sleep(0 if status.finished else EVENT_GAP_S)

    async def cancel(self, job_id: str) -> JobStatus:
        """Drops what is queued and discards what is running; a finished job stays as it is. Raises JobNotFound."""
        await self._end(job_id, purge=False)
        return await self.status(job_id)

    async def purge(self, job_id: str) -> None:
        """Cancels if need be and removes every trace, results and idempotency key too. Raises JobNotFound."""
        await self._end(job_id, purge=True)

    async def workers(self) -> list[WorkerInfo]:
        """The workers that are alive, by id."""
        with outages_told():
            seen: Any = await self._client.zrange(self._keys.workers, 0, -1, withscores=True)
            pipeline = self._client.pipeline(transaction=False)
            for worker_id, _ in seen:
                pipeline.hgetall(self._keys.worker(worker_id.decode()))
            infos = await pipeline.execute() if seen else []
        found = [
            parse_worker(name.decode(), info, score) for (name, score), info in zip(seen, infos, strict=True) if info
        ]
        return sorted(found, key=lambda worker: worker.id)

    async def depth(self) -> Depth:
        """How much is waiting or running."""
        with outages_told():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hmget(self._keys.counters, ["items", "bytes"])
            pipeline.xlen(self._keys.stream)
            pipeline.xrange(self._keys.stream, count=1)
            pipeline.time()
            (items, size), chunks, first, (seconds, microseconds) = await pipeline.execute()
        # A stream entry's id begins with the millisecond in which it was made.
        made_s = int(first[0][0].split(b"-")[0]) / 1000 if first else seconds + microseconds / 1e6
        oldest_s = max(0.0, seconds + microseconds / 1e6 - made_s)
        return Depth(int(items or 0), int(size or 0), int(chunks), oldest_s)

    async def ping(self) -> None:
        """Raises QueueUnavailable unless the server answers soon: whoever probes does not wait for long."""
        try:
            with outages_told():
                async with asyncio.timeout(PING_S):
                    await self._client.execute_command("PING")  # type: ignore[no-untyped-call]
        except TimeoutError as error:
            raise QueueUnavailable(f"the job queue has not answered within {PING_S:g} s") from error

    async def close(self) -> None:
        """Ends the shared subscription; the client stays the caller's to close."""
        await self._listener.close()

    def _checked_size(self, new: NewJob) -> int:
        items, size = sum(c.items for c in new.chunks), sum(len(c.payload) for c in new.chunks)
        if items > self._limits.max_queued_items:
            raise BodyTooLarge(f"{items} items in one job; the queue takes {self._limits.max_queued_items} in all")
        if size > self._limits.max_queued_bytes:
            raise BodyTooLarge(f"{size} bytes in one job; the queue takes {self._limits.max_queued_bytes} in all")
        return size

    async def _end(self, job_id: str, purge: bool) -> None:
        with outages_told():
            found = await self._scripts.run(
                "cancel", job_id, self._limits.result_ttl_s, self._limits.record_ttl_s, int(purge)
            )
        if not found:
            raise JobNotFound(f"there is no job {job_id!r}")

    async def _fetch(self, job_id: str, indices: Iterable[int], names: Sequence[str]) -> list[Mapping[str, bytes]]:
        """The parts of some chunks in one round trip; empty for a chunk that has none."""
        wanted = [*names, ERROR_PART, ITEMS_PART] if names else []
        pipeline = self._client.pipeline(transaction=False)
        for key in (self._keys.result(chunk_id(job_id, index)) for index in indices):
            pipeline.hmget(key, wanted) if wanted else pipeline.hgetall(key)
        with outages_told():
            answers = await pipeline.execute()
        if not wanted:
            return [{key.decode(): value for key, value in found.items()} for found in answers]
        pairs = (zip(wanted, values, strict=True) for values in answers)
        return [{name: value for name, value in pair if value is not None} for pair in pairs]

    async def _patient_status(self, job_id: str, deadline: float) -> JobStatus:
        while True:
            try:
                return await self.status(job_id)
            except QueueUnavailable:
                if _now() >= deadline:
                    raise
            await asyncio.sleep(min(0.2, max(deadline - _now(), 0.0)))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _new_id() -> str:
    return secrets.token_hex(16)
