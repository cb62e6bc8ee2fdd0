"""Crowds of clients: a thousand with one Idempotency-Key, two hundred that are slow beside a few that are not."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache

import httpx
import numpy as np

from service.arrays import encode_npy
from service.demo import make_example
from tests.faults.report import Phase
from tests.faults.stand import MODEL, Stand

NPY = {"content-type": "application/x-npy"}
INVERT = f"/invert?model={MODEL}&method=oneshot"
CROWD, TIMES = 1000, 2
SLOW, ROUNDS, ROUND_S, QUICK = 200, 4, 6.0, 2


@cache
def body() -> bytes:
    """Four observations."""
    return encode_npy(np.stack([make_example(seed).observation for seed in range(4)]))


async def patiently(http: httpx.AsyncClient, content: bytes, headers: dict[str, str]) -> httpx.Response:
    """One POST; again where the connection broke, as a client does (too busy to speak, it is taken for slow)."""
    while True:
        with suppress(httpx.TransportError):
            return await http.post(INVERT, content=content, headers=headers)


# ------------------------------------------------------------------------------------------------------------ one key


async def post_at_once(url: str, count: int, key: str) -> Counter[str]:
    """The same POST ``count`` times at once; how often each job was named, or each other answer given."""
    content, headers = body(), {**NPY, "idempotency-key": key}
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as http:

        async def post() -> str:
            answer = await patiently(http, content, headers)
            return str(answer.json()["id"]) if answer.status_code == 202 else f"answered {answer.status_code}"

        return Counter(await asyncio.gather(*(post() for _ in range(count))))


def same_key(here: Stand, phase: Phase) -> None:
    """A thousand at once, and once more."""
    for number in range(TIMES):
        named = asyncio.run(post_at_once(here.url, CROWD, f"crowd-{number}"))
        phase.faults += 1
        if len(named) != 1 or "answered" in next(iter(named)):
            phase.problems.append(f"one key gave {dict(named.most_common(5))}")
    told = "one job each time" if not phase.problems else "not one job each time"
    phase.remarks.append(f"{TIMES} times {CROWD} POSTs at once with one Idempotency-Key: {told}.")


# -------------------------------------------------------------------------------------------------------- slow clients

HEAD = f"POST {INVERT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n".encode()
KINDS: dict[str, tuple[bytes, bytes]] = {
    "says nothing": (b"", b""),
    "half a head": (HEAD, b"X"),
    "half a body": (HEAD + b"Content-Length: 100000\r\n\r\n\x93NUMPY", b"\0"),
    "reads slowly": (b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
}
"""What each kind of slow client sends at once, and then every second."""


async def linger(host: str, port: int, kind: str) -> None:
    """One slow client, for as long as it is let."""
    first, later = KINDS[kind]
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port, limit=1024)
            try:
                writer.write(first)
                while not reader.at_eof():
                    await asyncio.sleep(1.0)
                    writer.write(later)
                    if kind == "reads slowly":
                        await reader.read(64)
            finally:
                writer.transport.abort()
        await asyncio.sleep(1.0)


@asynccontextmanager
async def slow_crowd(url: str, count: int) -> AsyncIterator[None]:
    """So many slow clients, a quarter of each kind."""
    place = httpx.URL(url)
    kinds = list(KINDS)
    tasks = [
        asyncio.create_task(linger(place.host, place.port or 80, kinds[number % len(kinds)])) for number in range(count)
    ]
    try:
        await asyncio.sleep(1.0)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def quick(url: str, seconds: float, clients: int = QUICK) -> list[float]:
    """How long (s) each request took of a few clients that ask one thing after another, and wait for the answer."""
    content, took = body(), list[float]()
    until = time.monotonic() + seconds

    async def ask(http: httpx.AsyncClient) -> None:
        while (began := time.monotonic()) < until:
            answer = await patiently(http, content, {**NPY, "prefer": "wait=20"})
            answer.raise_for_status()
            took.append(time.monotonic() - began)

    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        await asyncio.gather(*(ask(http) for _ in range(clients)))
    return took


async def with_and_without(url: str, slow: int, rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """Times of the quick clients alone and beside the slow ones, in turn, so that both meet the same machine."""
    alone, beside = list[float](), list[float]()
    await quick(url, 1.0)
    for _ in range(rounds):
        alone += await quick(url, seconds)
        async with slow_crowd(url, slow):
            beside += await quick(url, seconds)
    return alone, beside


def slow_clients(here: Stand, phase: Phase) -> None:
    """Two hundred slow clients beside quick ones: p95 of the quick ones with and without."""
    alone, beside = asyncio.run(with_and_without(here.url, SLOW, ROUNDS, ROUND_S))
    p95 = [float(np.percentile(took, 95)) for took in (alone, beside)]
    phase.faults, phase.ratio = SLOW, p95[1] / p95[0]
    told = (
        f"p95 {1000 * p95[0]:.1f} ms alone ({len(alone)} requests), {1000 * p95[1]:.1f} ms beside them ({len(beside)})"
    )
    phase.remarks.append(
        f"{SLOW} slow clients ({', '.join(KINDS)}), {QUICK} quick ones: {told}, {phase.ratio:.2f} times."
    )


CROWDS: dict[str, Callable[[Stand, Phase], None]] = {"same_key": same_key, "slow_clients": slow_clients}
