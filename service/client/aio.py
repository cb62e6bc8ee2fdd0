"""The asyncio client: the methods of `Client`, to be awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from service.client import flows
from service.client.flows import Asked, Call, Flow, Options, Pause
from service.client.pictures import PNG, DeblurOptions, Deblurred, Kernel, Source, deblur_form
from service.client.progress import progress_bar
from service.client.types import ClientError, Comparison, Job, Result, Retries, read_result

T = TypeVar("T")


class AsyncClient:
    """A running service at `url`; `key` is the API key where it asks for one (else that of DECEPTRON_API_KEY).

    Use it as an async context manager, or `await close()`. Raises ClientError.
    """

    def __init__(
        self, url: str, *, key: str | None = None, retries: Retries | None = None, progress: bool | None = None
    ) -> None:
        self._http = httpx.AsyncClient(base_url=flows.base_url(url), headers=flows.key_header(key))
        self._retries = retries or Retries()
        self._progress = progress

    async def invert(
        self,
        model: str,
        observations: Any,
        *,
        version: int | None = None,
        method: str = "auto",
        options: Options | None = None,
        constraint: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """The unknowns behind `observations`, (m,) or (B, m), waiting as long as it takes (or `timeout_s`)."""
        asked = Asked(model, version, options, constraint)
        queued = await self._run(flows.submit("invert", observations, asked, {"method": method}, self._retries))
        return await self._run(flows.inversion(await self._finish(queued, timeout_s), self._retries))

    async def compare(
        self,
        model: str,
        observations: Any,
        *,
        version: int | None = None,
        methods: Sequence[str] | None = None,
        options: Options | None = None,
        constraint: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Comparison:
        """Every method (or those named) under the same rules, with histories."""
        asked = Asked(model, version, options, constraint)
        chosen = {} if methods is None else {"methods": list(methods)}
        queued = await self._run(flows.submit("compare", observations, asked, chosen, self._retries))
        return await self._run(flows.comparison(await self._finish(queued, timeout_s), self._retries))

    async def deblur(
        self,
        image: Source,
        *,
        psf: Kernel | None = None,
        sigma: float | None = None,
        options: DeblurOptions | None = None,
        timeout_s: float | None = None,
    ) -> Deblurred:
        """The picture sharpened: a file's path, its bytes or an array (H, W[, 3]); the kernel likewise, or by sigma."""
        files, fields = deblur_form(image, psf, sigma, options or DeblurOptions())
        queued = await self._run(flows.submit_picture(files, fields, self._retries))
        return await self._run(flows.deblurring(await self._finish(queued, timeout_s), self._retries))

    async def picture(self, job: Job, media: str = PNG) -> bytes:
        """The file of a finished deblurring: image/png, of the depth of what was sent, or application/x-npy."""
        return await self._run(flows.picture(job.id, media, self._retries))

    async def submit(
        self,
        model: str,
        observations: Any,
        *,
        version: int | None = None,
        method: str = "auto",
        options: Options | None = None,
        constraint: Mapping[str, Any] | None = None,
    ) -> Job:
        """Queue an inversion and come back at once."""
        asked = Asked(model, version, options, constraint)
        return await self._run(flows.submit("invert", observations, asked, {"method": method}, self._retries))

    async def job(self, job: Job | str, wait_s: float = 0.0) -> Job:
        """The job now, or when it finishes within `wait_s` (at most 30)."""
        return await self._run(flows.job(_id(job), wait_s, self._retries))

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """The job once it has finished. Raises WaitTimeout."""
        with progress_bar(self._progress) as see:
            return await self._run(flows.wait(_id(job), timeout_s, see, self._retries))

    async def result(self, job: Job | str) -> Result | Comparison:
        """The result of a finished job. Raises JobFailed, Problem."""
        found = await self.job(job) if isinstance(job, str) else job
        return read_result(await self._run(flows.result_document(found, self._retries)))

    async def as_completed(self, jobs: Iterable[Job]) -> AsyncIterator[Job]:
        """The jobs, each as it finishes."""
        pending = list(jobs)
        while pending:
            found = await self._run(flows.next_finished(pending, self._retries))
            pending = [job for job in pending if job.id != found.id]
            yield found

    async def cancel(self, job: Job | str) -> Job | None:
        """Cancel a job; one that has finished stays as it is."""
        return await self._run(flows.delete(_id(job), False, self._retries))

    async def purge(self, job: Job | str) -> None:
        """Forget a job and its result."""
        await self._run(flows.delete(_id(job), True, self._retries))

    async def models(self) -> list[dict[str, Any]]:
        """The model cards."""
        return await self._run(flows.cards(self._retries))

    async def model(self, name: str, version: int | None = None) -> dict[str, Any]:
        """One model's card, of the newest version unless given."""
        return await self._run(flows.card(name, version, self._retries))

    async def examples(self, name: str) -> dict[str, Any]:
        """Held-out observations and the unknowns behind them."""
        return await self._run(flows.examples(name, self._retries))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _finish(self, job: Job, timeout_s: float | None) -> Job:
        """The finished job; one that nobody waits for any longer (Ctrl-C) is canceled on the server."""
        try:
            return await self.wait(job, timeout_s)
        except asyncio.CancelledError:
            with suppress(ClientError):
                await self._run(flows.delete(job.id, False, Retries(attempts=1)))
            raise

    async def _run(self, flow: Flow[T]) -> T:
        """Do what the flow asks until it returns."""
        outcome: Any = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as done:
                value: T = done.value
                return value
            if isinstance(step, Call):
                outcome = await self._call(step)
                continue
            outcome = time.monotonic()
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)

    async def _call(self, call: Call) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.send(flows.build(self._http, call))
        except httpx.TransportError as error:
            return error


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
