"""The examples of the API document: a request and an answer for every operation, a problem for every status.

What succeeds was recorded from a running service (``python -m tests.service.api_examples``); problems come from the
error tree, each with a sentence that the service really says.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.errors import (
    BodyTooLarge,
    BodyTooSlow,
    Forbidden,
    ForeignOrigin,
    IdempotencyConflict,
    InvalidInput,
    JobGone,
    JobNotFinished,
    JobNotFound,
    MalformedBody,
    Misdirected,
    ModelUnusable,
    NotAcceptable,
    NotInTime,
    QueueFull,
    QueueUnavailable,
    RateLimited,
    ServiceError,
    Unauthorized,
    UnknownModel,
    UnsupportedMedia,
)
from service.protocols import open_inference, um_bridge
from service.responses import PROBLEM, problem_document

RECORDED = Path(__file__).resolve().parent / "api_docs" / "examples.json"
JOB_ID = "0d6f2c1e8a7b4935b1c2d3e4f5a60718"
REQUEST_ID = "5f0c3a9d6b2e4871a4c8e1f7d2b69035"

Operation = dict[str, Any]
Where = Callable[[str, Operation], bool]


def _anywhere(path: str, operation: Operation) -> bool:
    return True


def _guarded(path: str, operation: Operation) -> bool:
    return "401" in operation["responses"]


def _of_jobs(path: str, operation: Operation) -> bool:
    return path.startswith("/jobs")


def _queues(path: str, operation: Operation) -> bool:
    """Whether it makes a job."""
    return "requestBody" in operation and operation["tags"][0] in ("solve", "deblur", "open inference protocol")


def _makes_idempotent_jobs(path: str, operation: Operation) -> bool:
    return any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))


def _needs_the_queue(path: str, operation: Operation) -> bool:
    return (
        _of_jobs(path, operation) or _queues(path, operation) or path.startswith(("/metrics/workers", "/health/rjcp"))
    )


def _needs_a_model(path: str, operation: Operation) -> bool:
    return not _of_jobs(path, operation) and path != "/metrics/workers"


def _names_a_model(path: str, operation: Operation) -> bool:
    return not _of_jobs(path, operation)


_PROBLEMS: tuple[tuple[ServiceError, Where], ...] = (
    (MalformedBody("the body is not valid JSON: unexpected end of data at line 1"), _anywhere),
    (
        Unauthorized(
            "an API key is needed: send it as `Authorization: Bearer dk_...` (ask whoever runs this service for one)"
        ),
        _anywhere,
    ),
    (Forbidden("this API key may not submit; it has: read"), _guarded),
    (ForeignOrigin("a page of another origin may not call this service"), _anywhere),
    (UnknownModel("no model named 'hea1d' is served here"), _names_a_model),
    (JobNotFound(f"there is no job '{JOB_ID}'"), _of_jobs),
    (NotAcceptable("this can be had as application/json or application/x-npy"), _anywhere),
    (JobNotFinished(f"job {JOB_ID} is running: 512 of 1000 items are done"), _anywhere),
    (JobGone(f"the results of job {JOB_ID} have expired"), _anywhere),
    (
        BodyTooLarge("the body is larger than 32 MiB; send fewer observations per request, or npy in place of JSON"),
        _anywhere,
    ),
    (BodyTooSlow("the body had not arrived after 120 s; send less at once, or faster"), _anywhere),
    (UnsupportedMedia("Content-Type is 'text/csv'; send application/json or application/x-npy"), _anywhere),
    (
        Misdirected("this service does not answer to that host name; DECEPTRON_ALLOWED_HOSTS lists what it does"),
        _anywhere,
    ),
    (InvalidInput.at("model", "is required"), _anywhere),
    (IdempotencyConflict.at("Idempotency-Key", "was used before with a different request"), _makes_idempotent_jobs),
    (QueueFull("the job queue is full; try again later", retry_after_s=3), _queues),
    (RateLimited("this API key may ask 200 times a second; slow down", retry_after_s=1), _anywhere),
    (QueueUnavailable("the job queue is not reachable at the moment", retry_after_s=1), _needs_the_queue),
    (ModelUnusable("heat1d/1/manifest.json: not valid JSON; restore the checkpoint from its source"), _needs_a_model),
    (NotInTime("not done within 30 s, and canceled; send it to POST /invert"), _anywhere),
)
"""Every problem, and where it can come up (wherever its status is declared)."""
_BEFORE_THE_ROUTE = (Unauthorized, Forbidden, ForeignOrigin, Misdirected, RateLimited)
_EXPLAINED: dict[str, Callable[[ServiceError], dict[str, Any]]] = {
    "open inference protocol": open_inference.explain,
    "um-bridge": um_bridge.explain,
}
"""Tag of a foreign protocol -> the members it adds to a problem."""


def add_examples(document: dict[str, Any]) -> None:
    """Puts the examples into an OpenAPI document, where they belong."""
    recorded = json.loads(RECORDED.read_text("utf-8"))
    shared = document["components"].setdefault("examples", {})
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _add_recorded(operation, recorded.get(f"{method.upper()} {path}", {}))
            _add_problems(path, operation, shared)


def _add_recorded(operation: Operation, found: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in found.get("parameters", {}):
            parameter["example"] = found["parameters"][parameter["name"]]
    for media, example in found.get("request", {}).items():
        operation["requestBody"]["content"][media]["example"] = example
    for status, answers in found.get("answers", {}).items():
        for media, example in answers.items():
            content = operation["responses"][status].setdefault("content", {})
            content.setdefault(media, {"schema": {}})["example"] = example


def _add_problems(path: str, operation: Operation, shared: dict[str, Any]) -> None:
    tag = operation["tags"][0]
    for error, where in _PROBLEMS:
        content = operation["responses"].get(str(error.status), {}).get("content", {})
        if PROBLEM not in content or not where(path, operation):
            continue
        explain = None if isinstance(error, _BEFORE_THE_ROUTE) else _EXPLAINED.get(tag)
        name = f"{error.slug}.{tag.replace(' ', '-')}" if explain else error.slug
        value = problem_document(error) | (explain(error) if explain else {}) | {"request_id": REQUEST_ID}
        shared[name] = {"summary": error.title, "value": value}
        content[PROBLEM].setdefault("examples", {})[error.slug] = {"$ref": f"#/components/examples/{name}"}
