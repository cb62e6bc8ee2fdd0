"""An application with keys, in this process, on a real queue server; nobody works, so jobs stay queued."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.queue.embedded import EmbeddedServer
from service.security.keys import add_key
from service.settings import Settings


@dataclass(frozen=True)
class Guarded:
    """The application, and the texts of its keys by name."""

    app: FastAPI
    keys: dict[str, str]

    @asynccontextmanager
    async def running(self, host: str = "http://localhost") -> AsyncIterator[httpx.AsyncClient]:
        """The started application behind a client without any key."""
        transport = httpx.ASGITransport(self.app)
        async with (
            self.app.router.lifespan_context(self.app),
            httpx.AsyncClient(transport=transport, base_url=host) as client,
        ):
            yield client

    def header(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"}


SCOPES = {
    "alice": ["submit", "read"],
    "bob": ["submit", "read"],
    "reader": ["read"],
    "sender": ["submit"],
    "admin": ["admin"],
    "none": [],
}


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path_factory.mktemp("dq")) as running:
        yield running


@pytest.fixture
def guarded(queue_server: EmbeddedServer, tmp_path: Path) -> Guarded:
    return make_guarded(queue_server.url, tmp_path)


def make_guarded(redis_url: str, folder: Path, **settings: object) -> Guarded:
    """An application of these settings, with a key of each name in SCOPES."""
    path = folder / "keys.json"
    keys = {name: add_key(path, name, scopes) for name, scopes in SCOPES.items()}
    app = create_app(Settings(redis_url=redis_url, keys_file=path, **settings))  # type: ignore[arg-type]
    return Guarded(app, keys)
