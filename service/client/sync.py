"""The blocking client."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class Client:
    """A running service at `url`; `key` is the API key where it asks for one (else that of DECEPTRON_API_KEY).

    Use it as a context manager, or `close()` it. Raises ClientError.
    """

    def __init__(
        self, url: str, *, key: str | None = None, retries: Retries | None = None, progress: bool | None = None
    ) -> None:
        self._http = httpx.Client(base_url=flows.base_url(url), headers=flows.key_header(key))
        self._retries = retries or Retries()
        self._progress = progress

    def invert(
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
        queued = self._run(flows.submit("invert", observations, asked, {"method": method}, self._retries))
        return self._run(flows.inversion(self._finish(queued, timeout_s), self._retries))

    def compare(
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
        queued = self._run(flows.submit("compare", observations, asked, chosen, self._retries))
        return self._run(flows.comparison(self._finish(queued, timeout_s), self._retries))

    def deblur(
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
        queued = self._run(flows.submit_picture(files, fields, self._retries))
        return self._run(flows.deblurring(self._finish(queued, timeout_s), self._retries))

    def picture(self, job: Job, media: str = PNG) -> bytes:
        """The file of a finished deblurring: image/png, of the depth of what was sent, or application/x-npy."""
        return self._run(flows.picture(job.id, media, self._retries))

    def submit(
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
        return self._run(flows.submit("invert", observations, asked, {"method": method}, self._retries))

    def job(self, job: Job | str, wait_s: float = 0.0) -> Job:
        """The job now, or when it finishes within `wait_s` (at most 30)."""
        return self._run(flows.job(_id(job), wait_s, self._retries))

    def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """The job once it has finished. Raises WaitTimeout."""
        with progress_bar(self._progress) as see:
            return self._run(flows.wait(_id(job), timeout_s, see, self._retries))

    def result(self, job: Job | str) -> Result | Comparison:
        """The result of a finished job. Raises JobFailed, Problem."""
        found = self.job(job) if isinstance(job, str) else job
        return read_result(self._run(flows.result_document(found, self._retries)))

    def as_completed(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs, each as it finishes."""
        pending = list(jobs)
        while pending:
            found = self._run(flows.next_finished(pending, self._retries))
            pending = [job for job in pending if job.id != found.id]
            yield found

    def cancel(self, job: Job | str) -> Job | None:
        """Cancel a job; one that has finished stays as it is."""
        return self._run(flows.delete(_id(job), False, self._retries))

    def purge(self, job: Job | str) -> None:
        """Forget a job and its result."""
        self._run(flows.delete(_id(job), True, self._retries))

    def models(self) -> list[dict[str, Any]]:
        """The model cards."""
        return self._run(flows.cards(self._retries))

    def model(self, name: str, version: int | None = None) -> dict[str, Any]:
        """One model's card, of the newest version unless given."""
        return self._run(flows.card(name, version, self._retries))

    def examples(self, name: str) -> dict[str, Any]:
        """Held-out observations and the unknowns behind them."""
        return self._run(flows.examples(name, self._retries))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _finish(self, job: Job, timeout_s: float | None) -> Job:
        """The finished job; one that nobody waits for any longer (Ctrl-C) is canceled on the server."""
        try:
            return self.wait(job, timeout_s)
        except KeyboardInterrupt:
            with suppress(ClientError):
                self._run(flows.delete(job.id, False, Retries(attempts=1)))
            raise

    def _run(self, flow: Flow[T]) -> T:
        """Do what the flow asks until it returns."""
        outcome: Any = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as done:
                value: T = done.value
                return value
            if isinstance(step, Call):
                outcome = self._call(step)
                continue
            outcome = time.monotonic()
            if isinstance(step, Pause):
                time.sleep(step.seconds)

    def _call(self, call: Call) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.send(flows.build(self._http, call))
        except httpx.TransportError as error:
            return error


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
