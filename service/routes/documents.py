"""The job document: what GET /jobs/{id}, a met `Prefer: wait` and every event of a job show."""

from datetime import UTC, datetime
from typing import Any

from service.deblurring.results import DeblurResult, assemble_picture
from service.deblurring.spec import KIND as PICTURE
from service.deblurring.spec import DeblurSpec
from service.errors import JobGone, JobNotFinished, JobNotFound
from service.inference import SolveSpec
from service.queue.records import JobStatus
from service.results import JobResult, assemble, result_json
from service.state import Services


def job_document(status: JobStatus) -> dict[str, Any]:
    """The job without its result."""
    path = f"/jobs/{status.id}"
    return {
        "id": status.id,
        "kind": status.kind,
        "model": status.model,
        "status": status.status,
        "progress": {"done": status.done, "total": status.total},
        "created_at": _timestamp(status.created_at),
        "started_at": _timestamp(status.started_at),
        "finished_at": _timestamp(status.finished_at),
        "expires_at": _timestamp(status.expires_at),
        "error": status.error,
        "links": {"self": path, "result": f"{path}/result", "events": f"{path}/events"},
    }


async def full_document(services: Services, status: JobStatus) -> dict[str, Any]:
    """The job, with its result inline when it is done and small."""
    document = job_document(status)
    if status.status not in ("succeeded", "partial", "failed"):
        return document
    try:
        result = await (_picture if status.kind == PICTURE else _answers)(services, status)
    except (JobGone, JobNotFinished, JobNotFound):
        return document
    return document if result is None else {**document, "result": result}


async def _answers(services: Services, status: JobStatus) -> dict[str, Any] | None:
    if status.total > services.settings.inline_items:
        return None
    spec, result = await fetch_result(services, status.id)
    return result_json(spec, status.kind, queued_s(status), result)


async def _picture(services: Services, status: JobStatus) -> dict[str, Any]:
    """The result of a picture; its numbers only where they are few."""
    found = await fetch_picture(services, status.id)
    return found.document(queued_s(status), found.spec.pixels <= services.settings.inline_pixels)


async def fetch_result(services: Services, job_id: str) -> tuple[SolveSpec, JobResult]:
    """A finished job's result. Raises JobNotFinished, JobGone, JobNotFound."""
    parts = await services.store.results(job_id)
    spec = SolveSpec.from_json(await services.store.spec(job_id))
    return spec, await services.in_thread(assemble, spec, parts)


async def fetch_picture(services: Services, job_id: str) -> DeblurResult:
    """A finished deblurring. Raises JobNotFinished, JobGone, JobNotFound."""
    parts = await services.store.results(job_id)
    spec = DeblurSpec.from_json(await services.store.spec(job_id))
    return await services.in_thread(assemble_picture, spec, parts)


def queued_s(status: JobStatus) -> float | None:
    """How long the job waited for a worker."""
    return None if status.started_at is None else max(0.0, status.started_at - status.created_at)


def _timestamp(unix_s: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
