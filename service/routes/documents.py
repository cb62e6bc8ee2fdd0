"""The job document: what GET /jobs/{id}, a met `Prefer: wait` and every event of a job show."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson

from service.deblurring.results import DeblurResult, assemble_picture
from service.deblurring.spec import KIND as PICTURE
from service.deblurring.spec import DeblurSpec
from service.errors import JobGone, JobNotFinished, JobNotFound
from service.inference import SolveSpec
from service.parts import META, items_part
from service.queue.records import JobStatus
from service.results import Heading, frame, items_text, result_json
from service.state import Services

CHUNKS_A_PAGE = 16


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


async def _answers(services: Services, status: JobStatus) -> orjson.Fragment | None:
    if status.total > services.settings.inline_items:
        return None
    chunks = await services.store.parts(status)
    return orjson.Fragment(result_json(SolveSpec.from_json(status.spec), status.kind, queued_s(status), chunks))


async def result_texts(services: Services, status: JobStatus) -> AsyncIterator[bytes]:
    """A finished job's result as JSON, page by page, never in memory as a whole. Raises JobGone, also on the way."""
    spec = SolveSpec.from_json(status.spec)
    heading = Heading.of(spec, await services.store.parts(status, (META,)))
    for k, (before, after) in enumerate(frame(spec, status.kind, queued_s(status), heading)):
        yield before
        joint = b""
        async for page in services.store.pages(status, (items_part(k),), CHUNKS_A_PAGE):
            yield joint + b",".join(items_text(parts, k) for parts in page)
            joint = b","
        yield after


async def _picture(services: Services, status: JobStatus) -> dict[str, Any]:
    """The result of a picture; its numbers only where they are few."""
    found = await fetch_picture(services, status)
    return found.document(queued_s(status), found.spec.pixels <= services.settings.inline_pixels)


async def fetch_picture(services: Services, status: JobStatus) -> DeblurResult:
    """A finished deblurring. Raises JobNotFinished, JobGone."""
    chunks = await services.store.parts(status)
    return await services.in_thread(assemble_picture, DeblurSpec.from_json(status.spec), chunks)


def queued_s(status: JobStatus) -> float | None:
    """How long the job waited for a worker."""
    return None if status.started_at is None else max(0.0, status.started_at - status.created_at)


def _timestamp(unix_s: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
