"""UM-Bridge 1.0: f and g of every model for tools of uncertainty quantification. Answered here, not by the workers.

A Markov chain asks for one evaluation after the other: each is little arithmetic, and a queue would only add to it.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from service.body import parse_json, read_body
from service.errors import ServiceError
from service.openapi import errors
from service.protocols.um_bridge import PROTOCOL_VERSION, SUPPORT
from service.responses import JSON
from service.routes.explained import ExplainedRoute
from service.state import Services, Shared


class _Route(ExplainedRoute):
    def explain(self, error: ServiceError) -> dict[str, Any]:
        kind = "InvalidInput" if error.status < 500 else "InvalidEvaluation"
        return {"error": {"type": kind, "message": error.detail}}


router = APIRouter(tags=["um-bridge"], route_class=_Route, responses=errors(404, 503))
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@router.get("/Info", response_class=JSON)
async def info(services: Shared) -> Response:
    """The protocol's version and every function there is."""
    return JSON({"protocolVersion": PROTOCOL_VERSION, "models": await services.in_thread(services.bridge.names)})


@router.post("/ModelInfo", response_class=JSON, openapi_extra=_BODY)
async def model_info(request: Request, services: Shared) -> Response:
    """What can be asked of a function."""
    await _ask(request, services, services.bridge.input_sizes)
    return JSON({"support": SUPPORT})


@router.post("/InputSizes", response_class=JSON, openapi_extra=_BODY)
async def input_sizes(request: Request, services: Shared) -> Response:
    """The lengths of a function's inputs."""
    return JSON({"inputSizes": await _ask(request, services, services.bridge.input_sizes)})


@router.post("/OutputSizes", response_class=JSON, openapi_extra=_BODY)
async def output_sizes(request: Request, services: Shared) -> Response:
    """The lengths of a function's outputs."""
    return JSON({"outputSizes": await _ask(request, services, services.bridge.output_sizes)})


@router.post("/Evaluate", response_class=JSON, openapi_extra=_BODY)
async def evaluate(request: Request, services: Shared) -> Response:
    """The function at the input."""
    return JSON({"output": await _ask(request, services, services.bridge.evaluate)})


@router.post("/Gradient", response_class=JSON, openapi_extra=_BODY)
async def gradient(request: Request, services: Shared) -> Response:
    """J^T sens."""
    return JSON({"output": await _ask(request, services, services.bridge.gradient)})


@router.post("/ApplyJacobian", response_class=JSON, openapi_extra=_BODY)
async def apply_jacobian(request: Request, services: Shared) -> Response:
    """J vec."""
    return JSON({"output": await _ask(request, services, services.bridge.apply_jacobian)})


async def _ask(request: Request, services: Services, work: Callable[[dict[str, Any]], Any]) -> Any:
    """Reads the JSON body, whatever Content-Type says (UM-Bridge clients differ), and answers in a thread."""
    body = await read_body(request, services.settings.max_body_bytes)
    return await services.in_thread(lambda: work(parse_json(body)))
