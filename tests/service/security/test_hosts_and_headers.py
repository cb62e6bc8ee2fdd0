"""Host and Origin, as a browser on the same machine may be led to send them; and the headers of every answer."""

import anyio
import httpx
import pytest
from starlette.datastructures import Headers

from service.errors import ForeignOrigin, Misdirected
from service.routes.console import MEDIA_TYPES
from service.security.headers import DATA_HEADERS, PAGE_HEADERS
from service.security.hosts import hosts_for, is_loopback
from tests.service.security.conftest import Guarded


@pytest.mark.parametrize(
    ("listening", "allowed", "host", "answered"),
    [
        ("127.0.0.1", "", "127.0.0.1:8000", True),
        ("127.0.0.1", "", "LocalHost:8000", True),
        ("127.0.0.1", "", "[::1]:8000", True),
        ("::1", "", "[::1]", True),
        ("127.0.0.2", "", "127.0.0.2:1", True),
        ("127.0.0.1", "", "evil.example", False),
        ("127.0.0.1", "", "localhost.evil.example", False),
        ("127.0.0.1", "", "127.0.0.1.evil.example:80", False),
        ("127.0.0.1", "", "localhost@evil.example", False),
        ("127.0.0.1", "", "", False),
        ("127.0.0.1", "lab.example, Other.example", "other.example:443", True),
        ("127.0.0.1", "lab.example", "localhost", True),
        ("0.0.0.0", "", "anything.example", True),
        ("0.0.0.0", "lab.example", "lab.example", True),
        ("0.0.0.0", "lab.example", "localhost:8000", True),  # the container's own health check
        ("0.0.0.0", "lab.example", "anything.example", False),
        ("0.0.0.0", "", "a b", False),
    ],
)
def test_host(listening: str, allowed: str, host: str, answered: bool) -> None:
    hosts, headers = hosts_for(listening, allowed), Headers({"host": host})
    if answered:
        hosts.check(headers)
        return
    with pytest.raises(Misdirected):
        hosts.check(headers)


@pytest.mark.parametrize(
    ("origin", "answered"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.0.0.1:9000", False),  # another program's page on this machine
        ("http://localhost:8000", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
        ("https://trusted.example", True),
        ("https://trusted.example.evil.example", False),
    ],
)
def test_origin(origin: str, answered: bool) -> None:
    hosts = hosts_for("127.0.0.1", "trusted.example")
    headers = Headers({"host": "127.0.0.1:8000", "origin": origin})
    if answered:
        hosts.check(headers)
        return
    with pytest.raises(ForeignOrigin):
        hosts.check(headers)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("db", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_the_gate_checks_before_it_looks_at_keys(guarded: Guarded) -> None:
    async def calls() -> list[int]:
        async with guarded.running() as client:
            asked = [{"host": "evil.example"}, {"origin": "https://evil.example"}]
            return [(await client.get("/health/live", headers=headers)).status_code for headers in asked]

    assert anyio.run(calls) == [421, 403]


def test_every_answer_has_the_headers(guarded: Guarded) -> None:
    async def calls() -> list[httpx.Response]:
        async with guarded.running() as client:
            paths = ["/health/live", "/models", "/jobs/0", "/nowhere", "/openapi.json", "/metrics"]
            found = [await client.get(path, headers=guarded.header("alice")) for path in paths]
            return [*found, await client.get("/models"), await client.get("/", headers={"host": "evil.example"})]

    for response in anyio.run(calls):
        assert dict(response.headers).items() >= {name.lower(): value for name, value in DATA_HEADERS.items()}.items()


def test_pages_have_a_policy_without_anything_unsafe(guarded: Guarded) -> None:
    async def calls() -> list[httpx.Response]:
        async with guarded.running() as client:
            return [await client.get(path) for path in ("/", *(f"/static/{name}" for name in MEDIA_TYPES))]

    policy = PAGE_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy
    for response in anyio.run(calls):
        if response.status_code != 404:  # the page itself is not a static file
            assert response.headers["content-security-policy"] == policy


def test_a_wrong_method_is_told_every_right_one(guarded: Guarded) -> None:
    async def calls() -> list[str]:
        async with guarded.running() as client:
            asked = [("PUT", "/jobs/0"), ("DELETE", "/invert"), ("POST", "/models")]
            found = [await client.request(method, path, headers=guarded.header("admin")) for method, path in asked]
            assert [response.status_code for response in found] == [405, 405, 405]
            return [response.headers["allow"] for response in found]

    assert anyio.run(calls) == ["GET, DELETE", "POST", "GET"]
