"""The job document: what GET /jobs/{id}, a met `Prefer: wait` and every event of a job show."""

from datetime import UTC, datetime
from typing import Any

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
    has_result = status.status in ("succeeded", "partial", "failed")
    if not has_result or status.total > services.settings.inline_items:
        return document
    try:
        spec, result = await fetch_result(services, status.id)
    except (JobGone, JobNotFinished, JobNotFound):
        return document
    return {**document, "result": result_json(spec, status.kind, queued_s(status), result)}


async def fetch_result(services: Services, job_id: str) -> tuple[SolveSpec, JobResult]:
    """A finished job's result. Raises JobNotFinished, JobGone, JobNotFound."""
    parts = await services.store.results(job_id)
    spec = SolveSpec.from_json(await services.store.spec(job_id))
    return spec, await services.in_thread(assemble, spec, parts)


def queued_s(status: JobStatus) -> float | None:
    """How long the job waited for a worker."""
    return None if status.started_at is None else max(0.0, status.started_at - status.created_at)


def _timestamp(unix_s: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
