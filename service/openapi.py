"""The OpenAPI document: exact, so that a tool may hold the service to it.

Routes declare what is special about them with ``errors(...)``; what the gate and a body's reading can answer is the
same everywhere and added here.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.deblurring.schemas import DeblurForm, DeblurRequestBody
from service.examples import add_examples
from service.responses import PROBLEM
from service.schemas import CompareRequest, InvertRequest, ProblemDocument
from service.security.access import is_public

_MEANINGS = {
    400: "the body cannot be read",
    401: "no API key, or none that is valid (only where keys are in use)",
    403: "the API key may not do this, or a page of another origin asks",
    404: "there is no such thing",
    406: "it cannot be had as that media type",
    408: "the body took too long to arrive",
    409: "not finished yet",
    410: "canceled or expired: it is gone",
    413: "the body is too large",
    415: "a media type that is not read here",
    421: "the Host header names another service",
    422: "a field is wrong; `errors` names it",
    429: "too much at once; Retry-After says when to come back",
    503: "something that this needs is away",
    504: "not done in time",
}
_KEY = "API key"


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these problems."""
    return {status: _problem(status) for status in statuses}


def files(*media: str) -> dict[str, Any]:
    """The `content` of bytes that no schema describes."""
    return {name: {"schema": {"type": "string", "format": "binary"}} for name in media}


def document(app: FastAPI, guarded: bool) -> dict[str, Any]:
    """FastAPI's document, with the bodies that are read by hand, the problems and, where keys are in use, the key."""
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (InvertRequest, CompareRequest, DeblurRequestBody, DeblurForm, ProblemDocument):
        definition = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(definition.pop("$defs", {}))
        schemas[model.__name__] = definition
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    if guarded:
        components["securitySchemes"] = {_KEY: {"type": "http", "scheme": "bearer", "bearerFormat": "dk_<id>_<secret>"}}
        schema["security"] = [{_KEY: []}]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(operation, is_public(method.upper(), path))
            if guarded and is_public(method.upper(), path):
                operation["security"] = []
    add_examples(schema)
    return schema


def _complete(operation: dict[str, Any], public: bool) -> None:
    """Adds what any operation of its kind may answer."""
    common = [403, 421] if public else [401, 403, 421, 429]
    common += [400, 408, 413, 422] if "requestBody" in operation else []
    responses = operation["responses"]
    common += [422] if "422" in responses else []  # FastAPI's own, of a shape that we never send
    responses |= {str(status): _problem(status) for status in common}
    operation["responses"] = dict(sorted(responses.items()))


def _problem(status: int) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}}
    return {"description": _MEANINGS[status], "content": content}
