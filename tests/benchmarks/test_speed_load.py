"""The load's own client: whole answers, refusals, and times that count from when a request was due."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from benchmarks.speed_bodies import many_npy, single
from benchmarks.speed_load import Connection, Refused, closed_loop, connection, open_loop, request


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; /slow takes its time, /wrong refuses."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/slow":
            time.sleep(0.05)
        self.send_response(422 if self.path == "/wrong" else 200)
        self.send_header("content-length", str(len(body)))
        self.send_header("Server-Timing", "solve;dur=12.5, queued;dur=0.25")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def slow(line: Connection) -> int:
    line.ask(request("POST", "/slow", b"x"))
    return 3


def test_answers_come_whole(url: str) -> None:
    body = bytes(range(256)) * 20_000
    with connection(url) as line:
        for _ in range(2):
            reply = line.ask(request("POST", "/", body))
            assert (reply.status, reply.body) == (200, body)
        assert reply.timing == {"solve_s": 0.0125, "queued_s": 0.00025}


def test_what_fails_is_raised_in_the_load_as_well(url: str) -> None:
    with connection(url) as line, pytest.raises(Refused, match="422: why"):
        line.ask(request("POST", "/wrong", b"why"))

    def wrong(line: Connection) -> int:
        line.ask(request("POST", "/wrong", b"why"))
        return 1

    with pytest.raises(Refused, match="422"):
        closed_loop(url, wrong, 4, 1.0)


def test_a_closed_loop_waits_for_each_answer(url: str) -> None:
    load = closed_loop(url, slow, 4, 0.3)
    assert load.observations == 3 * len(load.waited_s)
    assert load.percentile(50) >= 0.05
    assert load.per_second <= 4 * 3 / 0.05


def test_an_open_loop_counts_from_when_a_request_was_due(url: str) -> None:
    """One client, each answer takes 50 ms, one is due every 10: the waiting grows, as it does for those who wait."""
    load = open_loop(url, slow, 100.0, 1, 0.2)
    assert len(load.waited_s) == 20
    assert load.waited_s[-1] >= 20 * 0.05 - 0.2


def test_bodies_are_what_the_service_takes() -> None:
    sent: list[bytes] = []

    class Line:
        def ask(self, prepared: bytes) -> object:
            sent.append(prepared)
            raise Refused("seen enough")

    for send in (single("heat1d", np.zeros(3)), many_npy("heat1d", np.zeros((2, 3), np.float32))):
        with pytest.raises(Refused):
            send(Line())  # type: ignore[arg-type]
    head, _, body = sent[0].partition(b"\r\n\r\n")
    assert b"prefer: wait=30" in head
    assert json.loads(body) == {"model": "heat1d", "observations": [[0.0, 0.0, 0.0]]}
    assert b"POST /invert?model=heat1d" in sent[1]
    assert b"\x93NUMPY" in sent[1]
