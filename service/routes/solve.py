"""POST /invert and POST /compare."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from service.answers.jobs import JobDocument, JobWithResult
from service.body import JSON as JSON_TYPE
from service.body import NPY, content_type
from service.errors import InvalidInput
from service.openapi import errors, files
from service.prepare import Kind, RawRequest
from service.queue.records import JobStatus, NewJob
from service.responses import JSON
from service.routes.direct import DirectRoute
from service.routes.documents import full_document, job_document
from service.schemas import CompareRequest, InvertRequest, Options
from service.state import Services, Shared

router = APIRouter(tags=["solve"], route_class=DirectRoute, responses=errors(404, 415, 503))
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
RETRY_AFTER_S = 1
HEADERS = [
    {"name": name, "in": "header", "schema": {"type": "string"}, "description": text}
    for name, text in (
        ("Prefer", "wait=N: answer 200 with the finished job if it takes at most N seconds"),
        ("Idempotency-Key", "the same key and body give the same job for 24 h"),
    )
]
"""OpenAPI of the headers that every POST of a job reads."""
ACCEPTED: dict[str, Any] = {
    "description": "queued: ask at Location",
    "headers": {
        "Location": {"required": True, "schema": {"type": "string"}, "description": "/jobs/{id}"},
        "Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "seconds"},
    },
}
"""OpenAPI of its 202."""
_FINISHED = {"model": JobWithResult, "description": "`Prefer: wait` was met: the finished job"}
_QUEUED: dict[str, Any] = {
    "status_code": 202,
    "response_model": JobDocument,
    "responses": {202: ACCEPTED, 200: _FINISHED},
}
Answer = Callable[[JobStatus, dict[str, str]], Awaitable[Response]]
"""What a finished job is answered with, given the headers that every such answer has."""


def _documented(model: type[InvertRequest] | type[CompareRequest], method: str) -> dict[str, Any]:
    """OpenAPI of a body that is read by hand: JSON by its schema, or npy with the rest as query parameters."""
    content = {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}, **files(NPY)}
    query = ["model", "version", method, *Options.model_fields, "constraint"]
    parameters = [{"name": n, "in": "query", "schema": {"type": "string"}, "description": "npy only"} for n in query]
    return {
        "requestBody": {"required": True, "content": content, "description": "npy: m or B x m, the rest in the query"},
        "parameters": [*parameters, *HEADERS],
    }


@router.post("/invert", openapi_extra=_documented(InvertRequest, "method"), **_QUEUED)
async def invert(request: Request, services: Shared) -> Response:
    """Reconstruct the unknowns behind one or many observations."""
    return await _submit(request, services, "invert")


@router.post("/compare", openapi_extra=_documented(CompareRequest, "methods"), **_QUEUED)
async def compare(request: Request, services: Shared) -> Response:
    """Reconstruct by every method named, under the same rules and with histories."""
    return await _submit(request, services, "compare")


async def _submit(request: Request, services: Services, kind: Kind) -> Response:
    media = content_type(request)
    key = idempotency_key(request)
    body = await services.body(request)
    raw = RawRequest(kind, media, body, dict(request.query_params), key)
    job = await services.prepared(raw)

    async def answer(status: JobStatus, headers: dict[str, str]) -> Response:
        return JSON(await full_document(services, status), 200, headers)

    return await queued(request, services, job, answer)


async def queued(request: Request, services: Services, job: NewJob, answer: Answer) -> Response:
    """Queues a job: 202, or its `answer` if it finishes within the time that the request prefers to wait."""
    wait_s = preferred_wait_s(request.headers.getlist("prefer"), services.settings.max_wait_s)
    if wait_s is None:
        submitted = await services.submit(request, job)
        return _accepted(await services.store.status(submitted.job_id))
    status = await services.run(request, job, wait_s)
    if not status.finished:
        return _accepted(status)
    return await answer(status, {"Location": f"/jobs/{status.id}", "Preference-Applied": f"wait={wait_s:g}"})


def _accepted(status: JobStatus) -> Response:
    headers = {"Location": f"/jobs/{status.id}", "Retry-After": str(RETRY_AFTER_S)}
    return JSON(job_document(status), 202, headers)


def preferred_wait_s(prefer: list[str], longest_s: float) -> float | None:
    """The N of `Prefer: wait=N`, at most `longest_s`; None without one (preferences not understood are ignored)."""
    found = _WAIT.search(",".join(prefer))
    return min(float(found[1]), longest_s) if found else None


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInput.at("Idempotency-Key", "must be 1 to 255 visible ASCII characters")
    return key
