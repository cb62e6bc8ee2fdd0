"""Load on an HTTP server: a client that costs next to nothing, so that what is measured is the server.

On two cores a comfortable HTTP client takes as much of the machine as what it calls; this one writes prepared bytes
to a socket and reads the answer by its Content-Length.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles
from urllib.parse import urlsplit

TIMEOUT_S = 120.0
RECEIVE = 1 << 20


@dataclass(frozen=True)
class Reply:
    """Status, head and body of an answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def timing(self) -> dict[str, float]:
        """The header Server-Timing: stage -> seconds."""
        line = next((line for line in self.head.split(b"\r\n") if line.lower().startswith(b"server-timing:")), b":")
        marks = (mark.strip().split(";dur=") for mark in line.decode().split(":", 1)[1].split(",") if ";dur=" in mark)
        return {f"{name}_s": float(ms) / 1e3 for name, ms in marks}


class Refused(Exception):
    """An answer that is not a success; the message has its status and its first words."""


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP/1.1 request; a header's underscores become hyphens."""
    named = {"host": "localhost", "content-length": str(len(body)), **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection: one request after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def ask(self, prepared: bytes) -> Reply:
        """Sends a request and reads its answer. Raises Refused (from 400 on), OSError."""
        self._sock.sendall(prepared)
        head, body = self._head()
        status, length = int(head[9:12]), _length(head)
        parts, got = [body], len(body)
        while got < length:
            parts.append(self._some())
            got += len(parts[-1])
        whole = b"".join(parts)
        if status >= 400:
            raise Refused(f"{status}: {whole[:300].decode(errors='replace')}")
        return Reply(status, head, whole)

    def _head(self) -> tuple[bytes, bytes]:
        """The head of the answer, and what has come of its body."""
        read = b""
        while b"\r\n\r\n" not in read:
            read += self._some()
        head, _, body = read.partition(b"\r\n\r\n")
        return head, body

    def _some(self) -> bytes:
        got = self._sock.recv(RECEIVE)
        if not got:
            raise ConnectionError("the server closed the connection inside an answer")
        return got


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n")[1:]:
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise Refused(f"an answer without Content-Length: {head[:200].decode(errors='replace')}")


@contextmanager
def connection(url: str) -> Iterator[Connection]:
    """A connection to the server at a URL; its path is not used."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 80), TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Connection(sock)


Send = Callable[[Connection], int]
"""One exchange; gives how many observations were answered."""


@dataclass(frozen=True)
class Load:
    """What came of a load: observations answered in so many seconds, and how long each request took (s)."""

    observations: int
    seconds: float
    waited_s: list[float]

    @property
    def per_second(self) -> float:
        """Observations answered per second."""
        return self.observations / self.seconds

    def percentile(self, percent: int) -> float:
        """Of the waiting times, in seconds."""
        if len(self.waited_s) < 2:
            return self.waited_s[0]
        return quantiles(self.waited_s, n=100, method="inclusive")[percent - 1]


def closed_loop(url: str, send: Send, clients: int, budget_s: float) -> Load:
    """So many clients, each sending its next request when the last one is answered."""

    def client(line: Connection, began: float) -> Iterator[tuple[float, int]]:
        first = True
        while first or time.perf_counter() < began + budget_s:
            first, sent = False, time.perf_counter()
            count = send(line)
            yield time.perf_counter() - sent, count

    return _run(url, send, client, clients)


def open_loop(url: str, send: Send, per_second: float, clients: int, budget_s: float) -> Load:
    """Requests at fixed times whatever the server does; waiting counts from when a request was due."""
    due = iter([i / per_second for i in range(max(clients, int(per_second * budget_s)))])
    lock = threading.Lock()

    def client(line: Connection, began: float) -> Iterator[tuple[float, int]]:
        while True:
            with lock:
                offset = next(due, None)
            if offset is None:
                return
            time.sleep(max(0.0, began + offset - time.perf_counter()))
            count = send(line)
            yield time.perf_counter() - began - offset, count

    return _run(url, send, client, clients)


def _run(
    url: str, send: Send, client: Callable[[Connection, float], Iterator[tuple[float, int]]], clients: int
) -> Load:
    """The clients as threads, all beginning once each has had a first answer, which is not counted."""
    done: list[list[tuple[float, int]]] = [[] for _ in range(clients)]
    failed: list[Exception] = []
    began: list[float] = []
    ready = threading.Barrier(clients, action=lambda: began.append(time.perf_counter()))

    def one(own: list[tuple[float, int]]) -> None:
        try:
            with connection(url) as line:
                send(line)
                ready.wait(TIMEOUT_S)
                own.extend(client(line, began[0]))
        except threading.BrokenBarrierError:
            return  # whoever broke it has failed, and says why
        except Exception as error:
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=one, args=(own,), daemon=True) for own in done]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    seconds = time.perf_counter() - began[0]
    pairs = [pair for own in done for pair in own]
    return Load(sum(count for _, count in pairs), seconds, [waited for waited, _ in pairs])
