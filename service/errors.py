"""The one error tree of the service, and the only place where errors meet HTTP status codes.

ServiceError
├── InvalidInput            422  the request is well-formed but a field is wrong (names the fields)
│   └── IdempotencyConflict 422  the same Idempotency-Key with another body
├── MalformedBody           400  the body cannot be read at all
├── UnsupportedMedia        415  a content type this endpoint does not read
├── NotAcceptable           406  a content type this endpoint does not write
├── BodyTooLarge            413
├── BodyTooSlow             408
├── Unauthorized            401  no API key, or none that is valid
├── Forbidden               403  the key may not do this
├── ForeignOrigin           403  a web page of somewhere else asks
├── Misdirected             421  the Host header names somebody else
├── NotFound                404
│   ├── UnknownModel
│   └── JobNotFound
├── JobNotFinished          409
├── JobGone                 410
├── QueueFull               429  carries retry_after_s
├── RateLimited             429  carries retry_after_s
├── QueueUnavailable        503  carries retry_after_s
├── NotInTime               504  a protocol without jobs asked for an answer, and the wait ended first
├── ModelUnusable           503  the checkpoint is damaged or foreign; the message says what to do
├── DeviceUnavailable       503  the asked-for device is not on this machine (start-up only)
└── SolveFailed             500  a chunk failed in the worker; travels as text in the job, not as a response
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """One wrong field: where it is (``observations[3][0]``), and what to do about it."""

    field: str
    detail: str


class ServiceError(Exception):
    """Base of everything the service reports; ``str(error)`` is the sentence shown to the user."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, errors: Sequence[FieldError] = (), retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s

    @property
    def slug(self) -> str:
        """Stable identifier of the error's kind, used as the problem document's ``type``."""
        return self.title.lower().replace(" ", "-")


class InvalidInput(ServiceError):
    status, title = 422, "Invalid input"

    @classmethod
    def at(cls, field: str, detail: str) -> "InvalidInput":
        """The common case: one field is wrong."""
        return cls(f"{field}: {detail}", [FieldError(field, detail)])


class IdempotencyConflict(InvalidInput):
    title = "Idempotency conflict"


class MalformedBody(ServiceError):
    status, title = 400, "Malformed body"


class UnsupportedMedia(ServiceError):
    status, title = 415, "Unsupported media type"


class NotAcceptable(ServiceError):
    status, title = 406, "Not acceptable"


class BodyTooLarge(ServiceError):
    status, title = 413, "Body too large"


class BodyTooSlow(ServiceError):
    status, title = 408, "Body too slow"
    headers: ClassVar[Mapping[str, str]] = {"Connection": "close"}


class Unauthorized(ServiceError):
    status, title = 401, "Unauthorized"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="deceptron"'}


class Forbidden(ServiceError):
    status, title = 403, "Forbidden"


class ForeignOrigin(ServiceError):
    status, title = 403, "Foreign origin"


class Misdirected(ServiceError):
    status, title = 421, "Misdirected request"


class NotFound(ServiceError):
    status, title = 404, "Not found"


class UnknownModel(NotFound):
    title = "Unknown model"


class JobNotFound(NotFound):
    title = "Job not found"


class JobNotFinished(ServiceError):
    status, title = 409, "Job not finished"


class JobGone(ServiceError):
    status, title = 410, "Job gone"


class QueueFull(ServiceError):
    status, title = 429, "Queue full"


class RateLimited(ServiceError):
    status, title = 429, "Rate limited"


class QueueUnavailable(ServiceError):
    status, title = 503, "Queue unavailable"


class NotInTime(ServiceError):
    status, title = 504, "Not in time"


class ModelUnusable(ServiceError):
    status, title = 503, "Model unusable"


class DeviceUnavailable(ServiceError):
    status, title = 503, "Device unavailable"


class SolveFailed(ServiceError):
    title = "Solve failed"
