"""A queue server with a password, an access list and TLS, named by REDIS_URL alone: a real redis-server."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.errors import QueueUnavailable
from service.queue.connection import connect, connect_async
from service.queue.jobs import JobStore
from service.queue.keys import Keys
from service.queue.lua import Scripts
from service.queue.records import Chunk, Limits, NewJob
from tests.ports import free_port

REDIS, OPENSSL = shutil.which("redis-server"), shutil.which("openssl")
pytestmark = pytest.mark.skipif(
    not (REDIS and OPENSSL), reason="NO redis-server OR openssl HERE: a queue with TLS and access lists was not tried"
)
# What docs/security.md tells operators to grant.
ACL = "~deceptron:* &deceptron:* +@read +@write +@stream +@scripting +@pubsub +@connection +@transaction +info +time"
PASSWORD = "correct-horse"


@dataclass(frozen=True)
class Server:
    port: int
    folder: Path

    def url(self, user: str = "deceptron", password: str = PASSWORD, ca: str = "ca.crt") -> str:
        return f"rediss://{user}:{password}@localhost:{self.port}/0?ssl_ca_certs={self.folder / ca}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    _certificates(folder)
    found = Server(free_port(), folder)
    (folder / "users.acl").write_text(f"user default off\nuser deceptron on >{PASSWORD} {ACL}\n")
    words = ["--port", "0", "--tls-port", str(found.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    words += ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.crt"]
    words += ["--tls-auth-clients", "no", "--aclfile", str(folder / "users.acl")]
    process = subprocess.Popen([str(REDIS), *words], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _until_it_listens(found.port)
        yield found
    finally:
        process.kill()
        process.wait()


def _certificates(folder: Path) -> None:
    """A certificate authority, another one that signed nothing, and a certificate for localhost."""

    def openssl(*words: str) -> None:
        subprocess.run([str(OPENSSL), *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("ca", "other"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    alone = ("-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.crt")
    openssl(*new, "-subj", "/CN=localhost", *alone, *signed)


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("redis-server does not listen")


JOB = NewJob("invert", "m", "{}", (Chunk(b"payload", 1),), "again", "digest")


@pytest.mark.anyio
async def test_the_queue_works_under_the_access_list(server: Server) -> None:
    client = connect_async(server.url())
    store = JobStore(client, Limits())
    submitted = await store.submit(JOB)
    assert (await store.submit(JOB)).job_id == submitted.job_id
    assert (await store.wait(submitted.job_id, 0.2)).status == "queued"
    assert (await store.depth()).items == 1
    assert (await store.cancel(submitted.job_id)).status == "canceled"
    await store.close()
    await client.aclose()
    blocking = connect(server.url())
    assert Scripts(blocking, Keys()).run("cancel", "0" * 32, 1, 1, 0) == 0
    blocking.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wrong", [{"password": "wrong"}, {"user": "default"}, {"ca": "other.crt"}], ids=["password", "user", "authority"]
)
async def test_a_wrong_url_is_an_unreachable_queue_without_its_password(server: Server, wrong: dict[str, str]) -> None:
    client = connect_async(server.url(**wrong))
    with pytest.raises(QueueUnavailable) as raised:
        await JobStore(client, Limits()).ping()
    assert PASSWORD not in repr((raised.value, raised.value.__cause__))
    await client.aclose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
