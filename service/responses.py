"""Answers: JSON through orjson, and every error as an RFC 9457 problem document."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from service.errors import FieldError, InvalidInput, ServiceError
from service.schemas import field_path, sentence

PROBLEM = "application/problem+json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def dump_json(value: Any) -> bytes:
    """JSON bytes; NumPy arrays are written as lists, NaN and infinities as null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)


def _plain(value: Any) -> Any:
    # Arrays that orjson does not take itself (strided, big-endian) and NumPy scalars.
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


class JSON(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else dump_json(content)


def problem(
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> Response:
    """One problem document, with members of one's own; carries the request id that the log lines carry."""
    document = _document(status, title, detail, errors) | dict(extensions or {})
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        document["request_id"] = request_id
    return Response(dump_json(document), status, dict(headers or {}), PROBLEM)


def problem_document(error: ServiceError) -> dict[str, Any]:
    """The members of an error's problem document, all but what comes with a request."""
    return _document(error.status, error.title, error.detail, error.errors)


def _document(status: int, title: str, detail: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    slug = title.lower().replace(" ", "-")
    document: dict[str, Any] = {"type": f"urn:deceptron:problem:{slug}", "title": title, "status": status}
    return document | {"detail": detail, "errors": [{"field": e.field, "detail": e.detail} for e in errors]}


def service_problem(error: ServiceError, extensions: Mapping[str, Any] | None = None) -> Response:
    """The problem document of an error of our own tree."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return problem(error.status, error.title, error.detail, error.errors, headers, extensions)


def internal_problem() -> Response:
    """The answer to what should not have happened; the log has the rest."""
    return problem(500, "Internal error", "something went wrong on our side; the log has it under this request_id")


async def _on_service_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ServiceError):
        raise error
    return service_problem(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = {
        404: f"there is nothing at {request.url.path[:200]}; GET /docs lists the endpoints",
        405: f"{request.method} is not possible at {request.url.path[:200]}",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    return problem(error.status_code, str(error.detail), detail, (), headers)


def _allowed(request: Request) -> list[str]:
    """Every method of this path; the router names those of the first route alone that has it."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    return [m for m, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # Never the input itself: it may hold NaN, which JSON cannot say, or what somebody would rather not have repeated.
    errors = [FieldError(field_path(e["loc"][1:]), sentence(e["type"], e["msg"])) for e in error.errors()]
    return service_problem(InvalidInput("; ".join(f"{e.field}: {e.detail}" for e in errors[:3]), errors))


def install_error_handlers(app: FastAPI) -> None:
    """Every error leaves as a problem document (unexpected ones: see `logs.RequestLog`)."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
