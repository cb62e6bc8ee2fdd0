"""Deny by default: every route, known and to come, with no key, a wrong key, a key of too little, another's key."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from service.queue.embedded import EmbeddedServer
from service.security.access import PUBLIC
from service.security.keys import revoke_key
from tests.service.security.conftest import Guarded, make_guarded

SOON_S = 15.0
OBSERVATION = {"model": "oscillator", "observations": [0.0] * 64}
OPEN = {"/", "/static/{name:path}", "/docs", "/docs/{name}", "/openapi.json", "/health/live", "/health/ready"}
"""Written out again on purpose: whoever makes a route public has to say so here, too."""


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path template) of every route, those under mounts included."""
    return sorted(set(_walk(app.routes, "")))


def _walk(found: Sequence[BaseRoute], prefix: str) -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, Mount):
            yield "GET", prefix + route.path + "/anything"
            yield from _walk(route.routes or [], prefix + route.path)
        elif isinstance(route, Route):
            yield from ((method, prefix + route.path) for method in route.methods or ())
        else:
            # FastAPI keeps included routers as they are; others we do not know, and must look at.
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            assert inner is not None, f"what is {route!r}?"
            yield from _walk(inner.routes, prefix)


def filled(path: str, job_id: str) -> str:
    """The template with something in each place."""
    return (
        path.replace(":path}", "}")
        .replace("{job_id}", job_id)
        .replace("{name}", "oscillator")
        .replace("{", "")
        .replace("}", "")
    )


async def answer(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """Fails soon where an answer never ends: a stream of events that is not guarded goes on for as long as the job."""
    with anyio.move_on_after(SOON_S):
        return await client.request(method, path, headers=headers)
    raise AssertionError(f"{method} {path} goes on answering: is it guarded?")


async def submit(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
    response = await client.post("/invert", json=OBSERVATION, headers=headers)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def test_the_walk_sees_what_there_is(guarded: Guarded) -> None:
    found = {path for _, path in routes(guarded.app)}
    assert found >= {"/invert", "/compare", "/jobs/{job_id}", "/jobs/{job_id}/events", "/models", "/metrics", "/docs"}
    assert {path for path in found if path in OPEN} == OPEN
    assert {path for path in OPEN if "{" not in path} == PUBLIC


def test_without_a_key_every_route_is_401(guarded: Guarded) -> None:
    async def calls() -> None:
        async with guarded.running() as client:
            for method, path in [*routes(guarded.app), ("GET", "/nowhere"), ("BREW", "/invert"), ("POST", "/docs")]:
                for headers in (
                    {},
                    {"Authorization": "Bearer dk_000000000000_" + "A" * 43},
                    {"Authorization": "Basic eA=="},
                ):
                    response = await answer(client, method, filled(path, "0" * 32), headers)
                    if path in OPEN and method in ("GET", "HEAD"):
                        assert response.status_code in (200, 404, 503), (method, path)
                        continue
                    assert response.status_code == 401, (method, path)
                    assert response.headers["www-authenticate"].startswith("Bearer")
                    assert response.headers["content-type"] == "application/problem+json"

    anyio.run(calls)


def test_with_anothers_key_every_job_route_is_404(guarded: Guarded) -> None:
    async def calls() -> int:
        tried = 0
        async with guarded.running() as client:
            job_id = await submit(client, guarded.header("alice"))
            for method, path in routes(guarded.app):
                if "{job_id}" not in path:
                    continue
                there = await answer(client, method, filled(path, job_id), guarded.header("bob"))
                nowhere = await answer(client, method, filled(path, "0" * 32), guarded.header("bob"))
                assert there.status_code == nowhere.status_code == 404, (method, path)
                same = [response.json()["detail"].replace(job_id, "0" * 32) for response in (there, nowhere)]
                assert same[0] == same[1]
                tried += 1
            mine = await client.get(f"/jobs/{job_id}", headers=guarded.header("alice"))
            assert mine.json()["status"] == "queued"  # bob's DELETE did nothing
            assert (await client.get(f"/jobs/{job_id}", headers=guarded.header("admin"))).status_code == 200
            assert (await client.delete(f"/jobs/{job_id}?purge=1", headers=guarded.header("admin"))).status_code == 204
        return tried

    assert anyio.run(calls) >= 4


def test_every_job_in_a_path_is_called_job_id(guarded: Guarded) -> None:
    """The guard goes by that name."""
    known = {"job_id", "name", "model", "version"}
    named = {
        part.strip("{}").split(":")[0] for _, path in routes(guarded.app) for part in path.split("/") if "{" in part
    }
    assert named <= known, f"is {named - known} a job? then call it job_id; if not, add it here"


def test_routes_submit_in_the_callers_name() -> None:
    folder = Path(__file__).parents[3] / "service"
    assert not [
        path for path in folder.rglob("*.py") if ".store.submit(" in path.read_text() and path.name != "state.py"
    ]


def test_idempotency_keys_of_two_callers_never_meet(guarded: Guarded) -> None:
    async def calls() -> list[str]:
        async with guarded.running() as client:
            same = {"Idempotency-Key": "again"}
            return [await submit(client, {**guarded.header(who), **same}) for who in ("alice", "bob", "alice")]

    first, others, again = anyio.run(calls)
    assert first == again != others


@pytest.mark.parametrize(
    ("who", "method", "path", "status"),
    [
        ("reader", "GET", "/models", 200),
        ("reader", "GET", "/metrics", 200),
        ("reader", "POST", "/invert", 403),
        ("reader", "DELETE", "/jobs/0", 403),
        ("sender", "POST", "/invert", 202),
        ("sender", "GET", "/jobs/0", 403),
        ("sender", "GET", "/metrics", 403),
        ("none", "GET", "/models", 403),
        ("none", "GET", "/docs", 200),
        ("admin", "POST", "/invert", 202),
        ("admin", "GET", "/nowhere", 404),
    ],
)
def test_scopes(guarded: Guarded, who: str, method: str, path: str, status: int) -> None:
    async def call() -> httpx.Response:
        async with guarded.running() as client:
            return await client.request(method, path, json=OBSERVATION, headers=guarded.header(who))

    assert anyio.run(call).status_code == status


def test_health_without_a_key_says_only_whether(guarded: Guarded) -> None:
    async def calls() -> list[httpx.Response]:
        async with guarded.running() as client:
            return [await client.get("/health/ready", headers=headers) for headers in ({}, guarded.header("reader"))]

    stranger, known = anyio.run(calls)
    assert stranger.json() == {"status": "not_ready"}  # nobody works here
    assert known.json()["checks"]["queue"]["ok"]


def test_a_revoked_key_is_refused_within_a_second(guarded: Guarded) -> None:
    async def calls() -> int:
        async with guarded.running() as client:
            assert (await client.get("/models", headers=guarded.header("alice"))).status_code == 200
            revoke_key(guarded.app.state.services.settings.keys_file, guarded.keys["alice"].split("_")[1])
            for _ in range(200):
                response = await client.get("/models", headers=guarded.header("alice"))
                if response.status_code == 401:
                    break
                await anyio.sleep(0.05)
            return response.status_code

    assert anyio.run(calls) == 401


def test_mounts_and_websockets_are_behind_the_gate(guarded: Guarded) -> None:
    def told(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hidden")

    guarded.app.mount("/extra", FastAPI(routes=[Route("/secret", told)]))

    async def calls() -> tuple[int, str, list[object]]:
        sent: list[object] = []

        async def send(message: object) -> None:
            sent.append(message)

        async with guarded.running() as client:
            closed = await client.get("/extra/secret")
            opened = await client.get("/extra/secret", headers=guarded.header("reader"))
            await guarded.app({"type": "websocket", "path": "/", "headers": []}, None, send)  # type: ignore[arg-type]
        return closed.status_code, opened.text, sent

    assert anyio.run(calls) == (401, "hidden", [{"type": "websocket.close", "code": 1008}])


def test_a_prefix_changes_nothing(guarded: Guarded) -> None:
    """Behind a proxy that hands on its prefix (--root-path), and as a part of another application."""

    async def calls() -> list[int]:
        async with guarded.running():
            outer = FastAPI(routes=[Mount("/inner", guarded.app)])
            transport = httpx.ASGITransport(outer)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                found = [await client.get(f"/inner{path}") for path in ("/health/live", "/models", "/jobs/0", "/")]
                found.append(await client.get("/inner/models", headers=guarded.header("reader")))
                return [response.status_code for response in found]

    assert anyio.run(calls) == [200, 401, 401, 200, 200]


@pytest.mark.parametrize(
    "path", ["/static/../models", "/static//models", "/static/x/../../metrics", "//models", "/docs/../metrics"]
)
def test_a_crooked_path_opens_nothing(guarded: Guarded, path: str) -> None:
    async def call() -> int:
        async with guarded.running() as client:
            return (await client.get(httpx.URL("http://localhost", raw_path=path.encode()))).status_code

    assert anyio.run(call) == 401


def test_a_key_that_asks_too_often_is_slowed_down(queue_server: EmbeddedServer, tmp_path: Path) -> None:
    slow = make_guarded(queue_server.url, tmp_path, rate_per_s=0.01, rate_burst=3)

    async def calls() -> list[httpx.Response]:
        async with slow.running() as client:
            return [await client.get("/models", headers=slow.header(who)) for who in ["alice"] * 4 + ["bob"]]

    *alice, refused, bob = anyio.run(calls)
    assert [r.status_code for r in alice] == [200, 200, 200]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert bob.status_code == 200
