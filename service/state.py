"""What the routes share: one value in `app.state`, built when the app starts."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends
from starlette.requests import Request

from service.body import read_body
from service.deblurring.networks import Networks
from service.errors import InvalidInput, JobNotFound
from service.inference import Inference, NotAtHand
from service.prepare import RawRequest, prepare
from service.protocols.um_bridge import Bridge
from service.queue.jobs import JobStore
from service.queue.records import JobStatus, NewJob, Submitted, WorkerInfo
from service.rjcp import RjcpWatch
from service.security.access import caller_of
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
SHORTEST_DEADLINE_S = 0.001
SMALL_BYTES = 8192
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,6})?")


@dataclass(frozen=True)
class Services:
    """The settings, the queue, the models, and the threads that keep heavy work off the event loop."""

    settings: Settings
    store: JobStore
    inference: Inference
    networks: Networks
    watch: RjcpWatch
    bridge: Bridge
    limiter: CapacityLimiter
    commit: str
    stopping: asyncio.Event  # set when the process is asked to stop: whoever waits should answer now

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the few decode threads (few, so that large bodies cannot fill the memory together)."""
        return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self.limiter)

    async def body(self, request: Request) -> bytes:
        """The request's whole body. Raises BodyTooLarge, BodyTooSlow, MalformedBody."""
        return await read_body(request, self.settings.max_body_bytes, self.settings.body_s)

    async def prepared(self, raw: RawRequest) -> NewJob:
        """The job that a request asks for. A small one is read on the spot: a thread's errand costs more than that."""
        if len(raw.body) <= SMALL_BYTES:
            with suppress(NotAtHand):
                return prepare(raw, self.inference.at_hand(), self.settings)
        return await self.in_thread(prepare, raw, self.inference, self.settings)

    async def submit(self, request: Request, job: NewJob) -> Submitted:
        """Queue a job as the caller's own: no other key will see it. Raises as JobStore.submit does, InvalidInput."""
        return await self.store.submit(_owned(job, request))

    async def run(self, request: Request, job: NewJob, timeout_s: float) -> JobStatus:
        """Likewise, and then the job once finished, or as it is after `timeout_s` or when the service stops."""
        return await self.store.run(_owned(job, request), timeout_s)

    async def live_workers(self) -> list[WorkerInfo]:
        """The workers heard of lately, by the queue server's clock: registrations expire. Raises QueueUnavailable."""
        return await self.store.workers()

    async def wait(self, job_id: str, timeout_s: float) -> JobStatus:
        """The job once finished, or as it is after `timeout_s` or when the service stops. Raises JobNotFound."""
        return await self.store.wait(job_id, timeout_s)

    def stop(self) -> None:
        """Whoever waits gets an answer now."""
        self.stopping.set()
        self.store.let_go()

    async def unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives, or None when the service is asked to stop before that."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for waiting in (task, stop):
                waiting.cancel()


def _owned(job: NewJob, request: Request) -> NewJob:
    trace = getattr(request.state, "trace", "")
    return replace(job, owner=caller_of(request).id, deadline_s=_deadline_s(request), trace=trace)


def _deadline_s(request: Request) -> float | None:
    given = request.headers.get("deadline-seconds")
    if given is not None and not _SECONDS.fullmatch(given):
        raise InvalidInput.at("Deadline-Seconds", "must be a number of seconds, like 30 or 0.5")
    return None if given is None else max(float(given), SHORTEST_DEADLINE_S)


async def services_of(request: Request) -> Services:  # async: FastAPI runs what is not in a thread
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the app was not started through its lifespan")
    return services


async def only_own_jobs(request: Request) -> None:
    """Guards every route with a `job_id` in its path: a job of another key is as unknown as one that never was."""
    job_id = request.path_params.get("job_id")
    caller = caller_of(request)
    if job_id is None or caller.sees_all:
        return
    services = await services_of(request)
    if await services.store.owner(job_id) != caller.id:
        raise JobNotFound(f"there is no job {job_id!r}")


Shared = Annotated[Services, Depends(services_of)]
