"""Logs on stderr, uvicorn's included: one JSON object a line, or plain words where a person watches a terminal.

Every line of a request carries its request id.
"""

import logging
import re
import sys
import time
import uuid
from typing import Any

import orjson
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.responses import internal_problem

_SECRETS = re.compile(
    r"(?<=://)[^/@\s\"']{1,512}(?=@)|(?<=dk_[0-9a-f]{12}_)[\w-]{43}|(?<=bearer )[\w.~+/=-]+", re.IGNORECASE
)
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger("service.http")


def configure_logs(level: str, process: str) -> None:
    """Send structlog's and the standard library's records to stderr. `process`: api, worker or serve."""
    on_terminal = sys.stderr.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _named(process),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _without_colour_codes,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not on_terminal:
        # Without local variables (structlog's default is with): a frame may hold a request's key or the queue's URL.
        bare = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(bare))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    render: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if on_terminal
        else structlog.processors.JSONRenderer(_dump),
        _without_secrets,
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=render))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("httpx", "httpcore", "asyncio", "sse_starlette"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Pillow logs as errors what it then raises: whoever posts a broken picture would write our log.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _named(process: str) -> structlog.typing.Processor:
    # A processor and not a context variable: threads start with an empty context.
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"] = process
        return event

    return add


def _without_colour_codes(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event.pop("color_message", None)  # uvicorn's own message again, with terminal codes in it
    return event


def _without_secrets(_logger: Any, _method: str, line: Any) -> Any:
    """The rendered line without passwords of URLs and without keys, whoever put them there."""
    return _SECRETS.sub("[hidden]", line) if isinstance(line, str) else line


def _dump(value: Any, default: Any = None, **_: Any) -> str:
    return orjson.dumps(value, default=default or str).decode()


class RequestLog:
    """ASGI middleware: names each request, logs one line when it ends, answers 500 when the unforeseen happened."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=request_id)
        exchange = _Exchange(scope, send, request_id)
        try:
            await self.app(scope, receive, exchange.send)
        except Exception:
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if exchange.status is None:
                await internal_problem()(scope, receive, exchange.send)
        finally:
            exchange.log()
            structlog.contextvars.unbind_contextvars("request_id")


class _Exchange:
    """Watches one response go by."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.scope, self.forward, self.request_id = scope, send, request_id
        self.status: int | None = None
        self.started = time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = self.request_id
        await self.forward(message)

    def log(self) -> None:
        # Asked every few seconds, or a page's files: the answer says it all.
        quiet = self.scope["path"].startswith(("/health", "/metrics", "/static", "/docs"))
        level = logging.DEBUG if quiet else logging.INFO
        if not logging.getLogger("service.http").isEnabledFor(level):
            return  # a line is put together before anybody asks whether it is wanted
        duration_ms = round(1000 * (time.perf_counter() - self.started), 2)
        caller = self.scope.get("state", {}).get("caller")
        who = {"key": caller.id} if caller is not None and caller.id else {}  # the id names the key; it is no secret
        what = {"method": self.scope["method"], "path": self.scope["path"][:200], "status": self.status}
        log.log(level, "request", **what, ms=duration_ms, **who)
