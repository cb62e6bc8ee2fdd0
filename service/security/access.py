"""The gate: an ASGI middleware that every request passes before anything of the application sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Forbidden, ServiceError, Unauthorized
from service.responses import service_problem
from service.security.hosts import Hosts
from service.security.keys import KeyRing
from service.security.rate import Buckets

PUBLIC = frozenset({"/", "/docs", "/openapi.json", "/health/live", "/health/ready"})
"""What is answered without a key (GET and HEAD): pages without data, and what a load balancer must know."""
PUBLIC_FOLDERS = ("/static/", "/static/vendor/", "/docs/")
_READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Caller:
    """Who asks: the id of its key, and what it may do."""

    id: str
    scopes: frozenset[str] = field(default_factory=frozenset)

    def may(self, scope: str) -> bool:
        return scope in self.scopes or self.sees_all

    @property
    def sees_all(self) -> bool:
        """Whether it may look at jobs that are not its own."""
        return "admin" in self.scopes


ANYBODY = Caller("", frozenset({"admin"}))
"""Whoever asks where no keys are asked for."""
STRANGER = Caller("")
"""Whoever has no key where one is needed."""


@dataclass(frozen=True)
class Policy:
    """Which hosts are answered, which keys are taken (None: no key is needed), how often one may ask."""

    hosts: Hosts
    keys: KeyRing | None
    rate: Buckets

    def admit(self, method: str, path: str, headers: Headers) -> Caller:
        """Who this is. Raises Misdirected, ForeignOrigin, Unauthorized, Forbidden, RateLimited."""
        self.hosts.check(headers)
        if self.keys is None:
            return ANYBODY
        caller = self._caller(headers, self.keys)
        if is_public(method, path):
            return caller
        if caller is STRANGER:
            raise Unauthorized(_reason(headers))
        needed = "read" if method in _READING else "submit"
        if not caller.may(needed):
            raise Forbidden(f"this API key may not {needed}; it has: {', '.join(sorted(caller.scopes)) or 'no scope'}")
        self.rate.take(caller.id)
        return caller

    @staticmethod
    def _caller(headers: Headers, keys: KeyRing) -> Caller:
        key = keys.find(_bearer(headers))
        return STRANGER if key is None else Caller(key.id, frozenset(key.scopes))


class Gate:
    """Refuses what the policy does not admit; what it admits carries its Caller from here on.

    It stands before routing: mounts, and routes that do not exist, are guarded like all others.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self.app, self.policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # we have none; one to come must be thought about
            return
        try:
            caller = self.policy.admit(scope["method"], _path(scope), Headers(scope=scope))
        except ServiceError as error:
            await service_problem(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)


def caller_of(request: Request) -> Caller:
    """Who asks; whoever came around the gate is a stranger."""
    caller = getattr(request.state, "caller", STRANGER)
    return caller if isinstance(caller, Caller) else STRANGER


def is_public(method: str, path: str) -> bool:
    """Whether this is answered without a key."""
    folder, name = path[: path.rfind("/") + 1], path[path.rfind("/") + 1 :]
    return method in _READING and (path in PUBLIC or (folder in PUBLIC_FOLDERS and name != ""))


def _path(scope: Mapping[str, str]) -> str:
    """The path as the application's own routes are written, also behind a prefix."""
    return scope["path"].removeprefix(scope.get("root_path", ""))


def _bearer(headers: Headers) -> str:
    """The key of the one Authorization header, or ''."""
    given = headers.getlist("authorization")
    scheme, _, text = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return text.strip() if scheme.lower() == "bearer" else ""


def _reason(headers: Headers) -> str:
    if "authorization" not in headers:
        return "an API key is needed: send it as `Authorization: Bearer dk_...` (ask whoever runs this service for one)"
    return "this API key is not valid: it is unknown, revoked or expired, or not sent as `Authorization: Bearer dk_...`"
