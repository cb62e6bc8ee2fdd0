"""Faults as an HTTP client meets them, and clients that are the fault themselves."""

import asyncio
import math
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest

from service.arrays import encode_npy
from tests.faults.crowd import HEAD, post_at_once, quick, slow_crowd
from tests.faults.load import known
from tests.faults.servers import binaries
from tests.faults.soak import SHORT_LEASE
from tests.faults.stand import MODEL, Stand, ready, stand, wait_for
from tests.service.conftest import alive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NPY = {"content-type": "application/x-npy"}
QUEUED, JOB = 96, 32
IMPATIENT = {"DECEPTRON_BODY_S": "1", "DECEPTRON_STALL_S": "2"}  # on a busy machine too little for the honest as well
SETTINGS = {
    **SHORT_LEASE,
    "DECEPTRON_MAX_QUEUED_ITEMS": str(QUEUED),
    "DECEPTRON_CHUNK_ITEMS": "8",
    "DECEPTRON_BATCH_ITEMS": "8",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One worker that takes its time, and a queue that is soon full."""
    folder = tmp_path_factory.mktemp("http") / "stand"
    with stand(binaries()["embedded"], folder, workers=1, pause_s=0.25, **SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A service that soon loses its patience with slow clients."""
    folder = tmp_path_factory.mktemp("impatient") / "stand"
    with stand(binaries()["embedded"], folder, workers=1, **IMPATIENT) as made:
        yield made


def lives(here: Stand) -> bool:
    """Whether somebody is answered; on a busy machine the honest are taken for slow, too, now and then."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{here.url}/health/live", timeout=60, trust_env=False).status_code == 200
    return False


@pytest.fixture
def http(here: Stand) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=here.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def observations() -> np.ndarray:
    return known().y


def post(http: httpx.Client, rows: np.ndarray) -> httpx.Response:
    return http.post(f"/invert?model={MODEL}&method=oneshot", content=encode_npy(rows), headers=NPY)


def accepted(http: httpx.Client, rows: np.ndarray) -> httpx.Response:
    """The answer 202, once there is room."""

    def taken() -> httpx.Response | None:
        answer = post(http, rows)
        return answer if answer.status_code == 202 else None

    found: httpx.Response = wait_for(taken, 120)
    return found


def finished(http: httpx.Client, job: str) -> dict[str, Any]:
    """The job once it has ended; outages are sat out."""

    def ended() -> dict[str, Any] | None:
        answer = http.get(f"/jobs/{job}?wait=5")
        return answer.json() if answer.status_code == 200 and answer.json()["finished_at"] else None

    return dict(wait_for(ended, 120))


def test_ready_is_red_while_no_worker_lives(here: Stand, http: httpx.Client, observations: np.ndarray) -> None:
    here.stop_worker(here.workers[0])
    wait_for(lambda: ready(here.url) == 503)
    checks = http.get("/health/ready").json()["checks"]
    assert (checks["worker"]["ok"], checks["queue"]["ok"]) == (False, True)
    assert http.get("/health/live").status_code == 200
    assert http.get("/health").json()["status"] == "unavailable"
    job = post(http, observations[:2])
    assert job.status_code == 202  # it will be done when there is a worker again
    here.start_worker()
    wait_for(lambda: ready(here.url) == 200)
    assert finished(http, job.json()["id"])["status"] == "succeeded"


def test_a_full_queue_says_about_when_to_come_back(here: Stand, http: httpx.Client, observations: np.ndarray) -> None:
    rows = np.tile(observations, (2, 1))[:JOB]
    finished(http, post(http, rows).json()["id"])  # from now on the rate is known
    seen = list[tuple[float, float]]()
    for _ in range(5):  # a machine that stands still for a moment makes any estimate wrong, and not five times
        seen.append(told_and_took(http, rows))
        if math.isclose(*seen[-1], rel_tol=0.75, abs_tol=3.0):
            return
    raise AssertionError(f"seconds told, and seconds it took: {seen}")


def told_and_took(http: httpx.Client, rows: np.ndarray) -> tuple[float, float]:
    """Of a full queue: in how many seconds to come back, and how many it took until there was room."""
    while (answer := post(http, rows)).status_code == 202:
        pass
    told_s, refused = float(answer.headers["retry-after"]), time.monotonic()
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    accepted(http, rows)
    return told_s, time.monotonic() - refused


def spoken(here: Stand, first: bytes, drip: bytes, pause_s: float = 0.2) -> bytes:
    """What a client hears that sends ``first`` and then a little now and again, until it is hung up on."""
    heard = b""
    with socket.create_connection((httpx.URL(here.url).host, httpx.URL(here.url).port), timeout=60) as client:
        client.sendall(first)
        client.settimeout(pause_s)
        with suppress(ConnectionError):
            while True:
                try:
                    piece = client.recv(65536)
                except TimeoutError:
                    client.sendall(drip)
                    continue
                if not piece:
                    break
                heard += piece
    return heard


def test_a_body_that_never_ends_is_answered_408(impatient: Stand) -> None:
    heard = spoken(impatient, HEAD + b"Content-Length: 100000\r\n\r\n\x93NUMPY", b"\0")
    head, _, body = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408"), heard
    assert b"connection: close" in head.lower()
    assert b'"status":408' in body
    assert b"DECEPTRON" not in body
    wait_for(lambda: lives(impatient))


@pytest.mark.parametrize("first", [b"", HEAD], ids=["nothing", "half a head"])
def test_a_head_that_never_ends_is_hung_up_on(impatient: Stand, first: bytes) -> None:
    assert spoken(impatient, first, b"x" if first else b"") == b""


def test_who_reads_nothing_is_hung_up_on(here: Stand, impatient: Stand, http: httpx.Client) -> None:
    one, place, asked = len(http.get("/openapi.json").content), httpx.URL(impatient.url), 200
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(60)
        client.connect((place.host, place.port))
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * asked)
        wait_for(lambda: "the client to read" in (impatient.folder / "service.log").read_text())
        assert heard_until_the_end(client) < asked * one  # what lay in the kernel's buffers, and no more


def heard_until_the_end(client: socket.socket) -> int:
    heard = 0
    with suppress(ConnectionResetError):
        while piece := client.recv(1 << 20):
            heard += len(piece)
    return heard


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, HEAD + b"Content-Length: 100\r\n\r\n12345"])
def test_who_hangs_up_half_way_harms_nobody(here: Stand, http: httpx.Client, sent: bytes) -> None:
    for _ in range(20):
        with socket.create_connection((httpx.URL(here.url).host, httpx.URL(here.url).port), timeout=60) as client:
            client.sendall(sent)
    wait_for(lambda: ready(here.url) == 200)
    assert alive(here.api)


def test_slow_clients_do_not_keep_others_waiting(here: Stand) -> None:
    """That everybody is answered; how long it takes beside 200 of them, `make soak` measures."""

    async def both() -> list[float]:
        async with slow_crowd(here.url, 40):
            return await quick(here.url, 2.0)

    assert asyncio.run(both())


def test_one_key_at_once_is_one_job(here: Stand) -> None:
    named = asyncio.run(post_at_once(here.url, 200, "suite"))
    assert len(named) == 1
    assert named.total() == 200
    assert "answered" not in next(iter(named))


def test_accepted_is_kept_when_the_queue_dies_at_once(
    here: Stand, http: httpx.Client, observations: np.ndarray
) -> None:
    kept: list[str] = []
    for rows in (observations[:4], observations[4:8], observations[8:12]):
        answer = accepted(http, rows)
        here.server.kill()
        kept.append(answer.json()["id"])
        here.server.start()
        wait_for(lambda: ready(here.url) == 200)
    assert [finished(http, job)["status"] for job in kept] == ["succeeded"] * 3
