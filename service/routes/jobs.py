"""GET and DELETE /jobs/{id}, its result and its events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from service.answers.jobs import JobDocument, JobWithResult, Result
from service.body import JSON as JSON_TYPE
from service.body import NPY
from service.deblurring.spec import KIND as PICTURE
from service.errors import ServiceError
from service.inference import SolveSpec
from service.openapi import errors, files
from service.parts import META, X_PART
from service.queue.records import JobStatus
from service.responses import JSON, dump_json
from service.results import Heading, result_npy
from service.routes.documents import CHUNKS_A_PAGE, full_document, job_document, queued_s, result_texts
from service.routes.negotiation import negotiate
from service.routes.pictures import PICTURE_MEDIA, PNG, picture_response
from service.state import Services, Shared

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=errors(404, 503))
_PING_S = 15
_VARY = {"Vary": "Accept"}


@router.get("/{job_id}", response_model=JobWithResult)
async def job(job_id: str, services: Shared, wait: Annotated[float, Query(ge=0, le=3600)] = 0) -> Response:
    """The job; `wait` holds the answer back until it is finished, for at most that many seconds (and at most 30)."""
    if wait > 0:
        status = await services.wait(job_id, min(wait, services.settings.max_wait_s))
    else:
        status = await services.store.status(job_id)
    headers = {} if status.finished else {"Retry-After": "1"}
    return JSON(await full_document(services, status), 200, headers)


@router.get(
    "/{job_id}/result",
    response_model=Result,
    responses={200: {"content": files(NPY, PNG)}, **errors(406, 409, 410)},
)
async def result(job_id: str, request: Request, services: Shared, arrays: bool = True) -> Response:
    """The whole result: JSON, or the reconstructions alone as npy, or a deblurred picture as PNG, as Accept asks.

    `arrays=false` leaves a picture's numbers out of the JSON.
    """
    accept = request.headers.get("accept", "*/*")
    status = await services.store.status(job_id)
    if status.kind == PICTURE:
        return await picture_response(services, status, negotiate(accept, PICTURE_MEDIA), arrays)
    media = negotiate(accept)
    if media == NPY:
        return await _npy(services, status)
    texts = result_texts(services, status)
    first = await anext(texts)  # what cannot be had at all is still a problem document
    if status.chunks <= CHUNKS_A_PAGE:
        return JSON(b"".join([first, *[text async for text in texts]]), 200, _VARY)
    return StreamingResponse(_joined(first, texts), 200, _VARY, JSON_TYPE)


async def _joined(first: bytes, texts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for text in texts:
        yield text


async def _npy(services: Services, status: JobStatus) -> Response:
    chunks = await services.store.parts(status, (X_PART, META))
    heading = Heading.of(SolveSpec.from_json(status.spec), chunks)
    times = {"queued": queued_s(status) or 0.0, "solve": heading.solve_s, "diagnose": heading.diagnose_s}
    timing = ", ".join(f"{name};dur={1e3 * seconds:.3f}" for name, seconds in times.items())
    body = await services.in_thread(result_npy, status.kind, chunks)
    return Response(body, 200, {**_VARY, "Server-Timing": timing}, NPY)


@router.get("/{job_id}/events", response_class=EventSourceResponse)
async def events(job_id: str, services: Shared) -> Response:
    """Server-sent events: `progress` with the job document at each change, then `end`."""
    await services.store.status(job_id)  # an unknown job is a 404, not an empty stream
    return EventSourceResponse(_events(services, job_id), ping=_PING_S, shutdown_grace_period=_PING_S)


async def _events(services: Services, job_id: str) -> AsyncIterator[ServerSentEvent]:
    changes = aiter(services.store.events(job_id))
    try:
        while status := await services.unless_stopping(_next(changes)):
            data = dump_json(job_document(status)).decode()
            yield ServerSentEvent(data, event="end" if status.finished else "progress")
    except ServiceError as error:
        document = {"title": error.title, "status": error.status, "detail": error.detail}
        yield ServerSentEvent(dump_json(document).decode(), event="error")


async def _next(changes: AsyncIterator[JobStatus]) -> JobStatus | None:
    return await anext(changes, None)


@router.delete(
    "/{job_id}",
    response_model=JobDocument,
    responses={
        202: {"model": JobDocument, "description": "canceling: a part is still running"},
        204: {"description": "purged"},
    },
)
async def delete(job_id: str, services: Shared, purge: bool = False) -> Response:
    """Cancel the job; with `purge=true` forget it and its result altogether."""
    if purge:
        await services.store.purge(job_id)
        return Response(status_code=204)
    status = await services.store.cancel(job_id)
    return JSON(job_document(status), 200 if status.finished else 202)
