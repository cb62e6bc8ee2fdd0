"""A deblurred picture as an answer: JSON, npy or PNG."""

from collections.abc import Mapping

from fastapi import Response

from service.body import JSON as JSON_TYPE
from service.body import NPY
from service.errors import NotAcceptable
from service.queue.records import JobStatus
from service.responses import JSON, dump_json
from service.routes.documents import fetch_picture, queued_s
from service.state import Services

PNG = "image/png"
PICTURE_MEDIA = (JSON_TYPE, NPY, PNG)


async def picture_response(
    services: Services, status: JobStatus, media: str, arrays: bool = True, headers: Mapping[str, str] | None = None
) -> Response:
    """The result of a finished deblurring. Raises JobNotFinished, JobGone, NotAcceptable (too large for JSON)."""
    found = await fetch_picture(services, status)
    told = {"Vary": "Accept", **(headers or {})}
    if media == PNG:
        return Response(await services.in_thread(found.png), 200, told, PNG)
    if media == NPY:
        return Response(await services.in_thread(found.npy), 200, told, NPY)
    if arrays and found.spec.pixels > services.settings.json_pixels:
        wanted = "ask for image/png, for application/x-npy, or for ?arrays=false"
        raise NotAcceptable(f"the picture has {found.spec.pixels} values, too many for JSON; {wanted}")
    return JSON(await services.in_thread(lambda: dump_json(found.document(queued_s(status), arrays))), 200, told)
