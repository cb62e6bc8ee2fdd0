"""What nobody foresaw is a 500 problem document without internals, and a log line with them."""

import json
import logging
from collections.abc import Iterator

import anyio
import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from service.logs import RequestLog, configure_logs


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """Undo `configure_logs`, which is meant for a process of its own."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


async def broken(request: Request) -> PlainTextResponse:
    raise RuntimeError("the secret ingredient is basil")


@pytest.mark.usefixtures("logs_as_before")
def test_a_surprise_is_a_problem_without_internals(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "api")
    app = RequestLog(Starlette(routes=[Route("/broken", broken)]))

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/broken")

    response = anyio.run(call)
    assert response.status_code == 500
    assert "basil" not in response.text
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = next(event for event in events if event["event"] == "request failed")
    assert told["request_id"] == response.headers["x-request-id"]
    assert "basil" in json.dumps(told["exception"])
