"""ASGI middleware: a span for every request that is worth one."""

import asyncio
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from service.tracing.spans import Traces

UNTRACED = ("/health", "/v2/health", "/metrics", "/static", "/docs")
"""Asked every few seconds, or only files."""


class TraceRequests:
    """Begins a span, hands its context on to whoever queues a job, and ends it with the answer; closes with the app."""

    def __init__(self, app: ASGIApp, traces: "Traces") -> None:
        self.app, self.traces = app, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(UNTRACED):
            await self._traced(scope, receive, send)
            return
        await self.app(scope, receive, send)
        if scope["type"] == "lifespan":
            await asyncio.to_thread(self.traces.close)

    async def _traced(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("traceparent", "")
        span = self.traces.begin_request(scope["method"], scope["path"][:200], given)
        scope.setdefault("state", {})["trace"] = span.traceparent
        status, job = 500, ""

        async def watched(message: Message) -> None:
            nonlocal status, job
            if message["type"] == "http.response.start":
                status = message["status"]
                job = Headers(raw=message["headers"]).get("location", "").removeprefix("/jobs/")
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(trace_id=span.trace_id):
                await self.app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "")
            facts = {"http.route": route, "deceptron.job": job}
            known = {name: value for name, value in facts.items() if value}
            span.end(f"{scope['method']} {route}".rstrip(), status, known)
