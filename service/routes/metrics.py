"""GET /metrics for Prometheus, and where the workers have theirs."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.answers.health import Scraped
from service.errors import ServiceError
from service.metrics.api import ApiMetrics
from service.openapi import errors
from service.responses import JSON
from service.state import Services, Shared

router = APIRouter(prefix="/metrics", tags=["metrics"])


@router.get("", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(request: Request, services: Shared) -> Response:
    """The API's own metrics in Prometheus' text format; the workers have theirs, see /metrics/workers."""
    found: ApiMetrics = request.app.state.metrics
    await _look(found, services)
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/workers", response_model=list[Scraped], responses=errors(503))
async def workers(services: Shared) -> Response:
    """The workers' addresses, as Prometheus' HTTP service discovery reads them."""
    alive = await services.live_workers()
    return JSON([{"targets": [worker.metrics]} for worker in alive if worker.metrics])


async def _look(found: ApiMetrics, services: Services) -> None:
    found.queue.limit_items.set(services.settings.max_queued_items)
    found.queue.limit_bytes.set(services.settings.max_queued_bytes)
    try:
        found.queue.show(await services.store.depth(), await services.live_workers())
        found.models.show(await services.watch.reports())
    except ServiceError:
        found.queue.up.set(0)  # the rest stands as it was last seen
