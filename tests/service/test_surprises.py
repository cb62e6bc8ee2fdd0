"""What goes wrong on our side: surprises, a full queue, a queue that is away."""

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

from service.app import create_app
from service.errors import QueueFull
from service.logs import RequestLog, configure_logs
from service.responses import service_problem
from service.settings import Settings


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
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/broken")

    response = anyio.run(call)
    assert response.status_code == 500
    assert "basil" not in response.text
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = next(event for event in events if event["event"] == "request failed")
    assert told["request_id"] == response.headers["x-request-id"]
    assert "basil" in json.dumps(told["exception"])


def test_retry_after_is_whole_seconds_rounded_up() -> None:
    response = service_problem(QueueFull("full", retry_after_s=2.1))
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


def test_without_its_queue_the_service_says_so() -> None:
    app = create_app(Settings(redis_url="redis://127.0.0.1:9/0"))

    async def calls() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            looks = [await client.get(path) for path in ("/health/live", "/health/ready", "/health", "/jobs/1")]
            return [*looks, await client.post("/invert", json={"model": "oscillator", "observations": [0.0] * 64})]

    live, ready, health, job, refused = anyio.run(calls)
    assert [r.status_code for r in (live, ready, health, job, refused)] == [200, 503, 503, 503, 503]
    assert not ready.json()["checks"]["queue"]["ok"]
    assert health.json()["database"] == "unreachable"
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
