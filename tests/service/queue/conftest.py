"""A real server for the session, and a key prefix of its own for each test."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from queue_bench import LIMITS, Bench

from service.queue.connection import connect, connect_async
from service.queue.embedded import EmbeddedServer
from service.queue.jobs import JobStore
from service.queue.keys import Keys


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with tempfile.TemporaryDirectory(prefix="dq") as folder, EmbeddedServer(Path(folder)) as running:
        yield running


@pytest.fixture
def bench(server: EmbeddedServer, tmp_path: Path) -> Iterator[Bench]:
    client = connect(server.url)
    with ExitStack() as stack:
        stack.callback(client.close)
        yield Bench(server.url, Keys(f"test-{uuid.uuid4().hex}:"), client, tmp_path, stack)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def open_store(bench: Bench) -> AsyncIterator[Callable[..., JobStore]]:
    """Opens stores on the bench's keys; closes them all."""
    opened = []

    def opening(url: str | None = None, **changed: Any) -> JobStore:
        client = connect_async(url or bench.url)
        store = JobStore(client, replace(LIMITS, **changed), bench.keys)
        opened.append((client, store))
        return store

    yield opening
    for client, store in opened:
        await store.close()
        await client.aclose()


@pytest.fixture
async def store(open_store: Callable[..., JobStore]) -> JobStore:
    return open_store()
