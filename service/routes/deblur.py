"""POST /deblur."""

from typing import Any

from fastapi import APIRouter, Request, Response

from service.answers.jobs import JobDocument, JobWithResult
from service.body import JSON as JSON_TYPE
from service.body import NPY, require_plain
from service.deblurring.forms import MULTIPART
from service.deblurring.prepare import deblur_job, spec_of
from service.deblurring.request import IMAGES, media_of, read_request
from service.deblurring.schemas import DeblurParameters
from service.openapi import errors, files
from service.queue.records import JobStatus, NewJob
from service.responses import JSON
from service.routes.documents import full_document
from service.routes.negotiation import negotiate
from service.routes.pictures import PICTURE_MEDIA, PNG, picture_response
from service.routes.solve import ACCEPTED, HEADERS, idempotency_key, queued
from service.state import Services, Shared

router = APIRouter(tags=["deblur"], responses=errors(406, 409, 410, 415, 503))


def _documented() -> dict[str, Any]:
    """OpenAPI of the bodies: JSON, a form, or a bare file with everything else in the query."""
    content: dict[str, Any] = {
        JSON_TYPE: {"schema": {"$ref": "#/components/schemas/DeblurRequestBody"}},
        MULTIPART: {"schema": {"$ref": "#/components/schemas/DeblurForm"}},
    }
    content |= files(NPY, *IMAGES)
    names = ("sigma", "psf", *DeblurParameters.model_fields)
    query = [
        {"name": name, "in": "query", "schema": {"type": "string"}, "description": "beside a bare file only"}
        for name in names
    ]
    return {"requestBody": {"required": True, "content": content}, "parameters": [*query, *HEADERS]}


@router.post(
    "/deblur",
    status_code=202,
    response_model=JobDocument,
    responses={
        202: ACCEPTED,
        200: {
            "model": JobWithResult,
            "content": files(PNG, NPY),
            "description": "`Prefer: wait` was met: the finished job, or the picture itself where Accept asks for it",
        },
    },
    openapi_extra=_documented(),
)
async def deblur(request: Request, services: Shared) -> Response:
    """Sharpen a picture whose point spread function is known."""
    content_type = request.headers.get("content-type", "")
    require_plain(request)
    media_of(content_type)
    media = negotiate(request.headers.get("accept", "*/*"), PICTURE_MEDIA)
    key = idempotency_key(request)
    body = await services.body(request)
    query = dict(request.query_params)
    job = await services.in_thread(_job, services, content_type, body, query, key)

    async def answer(status: JobStatus, headers: dict[str, str]) -> Response:
        if media == JSON_TYPE:
            return JSON(await full_document(services, status), 200, headers)
        return await picture_response(services, status, media, headers=headers)

    return await queued(request, services, job, answer)


def _job(services: Services, content_type: str, body: bytes, query: dict[str, str], key: str | None) -> NewJob:
    request = read_request(content_type, body, query, services.settings)
    return deblur_job(spec_of(request, services.networks), request, key)
