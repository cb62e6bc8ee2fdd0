"""UM-Bridge 1.0: f and g of every model for tools of uncertainty quantification. Answered here, not by the workers.

A Markov chain asks for one evaluation after the other: each is little arithmetic, and a queue would only add to it.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from service.answers import protocols as answers
from service.answers.base import Answer
from service.body import parse_json
from service.errors import ServiceError
from service.openapi import errors
from service.protocols import um_bridge as protocol
from service.protocols.um_bridge import Bridge
from service.responses import JSON
from service.routes.explained import ExplainedRoute
from service.state import Shared

Work = Callable[[Bridge, dict[str, Any]], Any]


class _Route(ExplainedRoute):
    def explain(self, error: ServiceError) -> dict[str, Any]:
        return protocol.explain(error)


router = APIRouter(tags=["um-bridge"], route_class=_Route, responses=errors(503))
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


@router.get("/Info", response_model=answers.Info)
async def info(services: Shared) -> Response:
    """The protocol's version and every function there is."""
    models = await services.in_thread(services.bridge.names)
    return JSON({"protocolVersion": protocol.PROTOCOL_VERSION, "models": models})


def _answering(path: str, member: str, work: Work, answer: type[Answer], says: str) -> None:
    """A route that reads a JSON body, whatever Content-Type says (clients differ), and answers in a thread."""

    async def ask(request: Request, services: Shared) -> Response:
        body = await services.body(request)
        return JSON({member: await services.in_thread(lambda: work(services.bridge, parse_json(body)))})

    options: dict[str, Any] = {"name": path.strip("/"), "description": says, "openapi_extra": _BODY}
    router.post(path, response_model=answer, responses=errors(404), **options)(ask)


_answering("/ModelInfo", "support", Bridge.support, answers.ModelInfo, "What can be asked of a function.")
_answering("/InputSizes", "inputSizes", Bridge.input_sizes, answers.InputSizes, "The lengths of a function's inputs.")
_answering(
    "/OutputSizes", "outputSizes", Bridge.output_sizes, answers.OutputSizes, "The lengths of a function's outputs."
)
_answering("/Evaluate", "output", Bridge.evaluate, answers.Evaluated, "The function at the input.")
_answering("/Gradient", "output", Bridge.gradient, answers.Applied, "J^T sens.")
_answering("/ApplyJacobian", "output", Bridge.apply_jacobian, answers.Applied, "J vec.")
