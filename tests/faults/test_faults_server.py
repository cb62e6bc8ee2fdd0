"""The queue server itself in trouble: memory full, disk full, its clock set, silent. Workers and jobs outlast it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from service.errors import QueueFull, QueueUnavailable, ServiceError
from service.queue import jobs
from service.queue.connection import connect, connect_async
from service.queue.jobs import JobStore, Submitted
from service.queue.keys import Keys
from tests.faults.servers import QueueServer, binaries
from tests.service.queue.queue_bench import LIMITS, SHORT, Bench, Recorder, job, until

pytestmark = pytest.mark.anyio
HOUR_S = 3600
FAKETIME = "usr/lib/*/faketime/libfaketime.so.1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=sorted(binaries()))
def binary(request: pytest.FixtureRequest) -> Path:
    return binaries()[request.param]


@dataclass
class Trouble:
    """A queue server to be troubled, with a bench and a store on it."""

    server: QueueServer
    bench: Bench
    store: JobStore


Start = Callable[..., Trouble]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a server and what belongs to it; ends all of it."""
    with ExitStack() as stack:
        clients = []

        def starting(binary: Path, *options: str, folder: Path = tmp_path, **env: str) -> Trouble:
            server = stack.enter_context(QueueServer(binary, folder, *options, env=env))
            client = connect(server.url)
            stack.callback(client.close)
            bench = Bench(server.url, Keys(), client, tmp_path, stack)
            clients.append(connect_async(server.url))
            store = JobStore(clients[-1], LIMITS, bench.keys)
            clients.append(store)
            return Trouble(server, bench, store)

        yield starting
        for one in reversed(clients):
            await (one.close() if isinstance(one, JobStore) else one.aclose())


async def fill(store: JobStore, size: int, refusal: type[ServiceError]) -> list[Submitted]:
    """Submits jobs until the queue refuses one with a time to come back; what it accepted."""
    accepted: list[Submitted] = []

    async def submit_many() -> None:
        while len(accepted) < 300:
            accepted.append(await store.submit(job(b"p" * size)))
            await asyncio.sleep(0.005)

    with pytest.raises(refusal) as refused:
        await submit_many()
    assert refused.value.retry_after_s
    return accepted


async def accepted_again(store: JobStore) -> Submitted:
    for _ in range(600):
        try:
            return await store.submit(job(b"there is room again"))
        except ServiceError:
            await asyncio.sleep(0.1)
    raise AssertionError("the queue did not come back")


async def test_full_memory_refuses_new_work_and_finishes_what_it_has(binary: Path, start: Start) -> None:
    here = start(binary, "--maxmemory", "16mb")
    accepted = await fill(here.store, 1_000_000, QueueFull)
    assert len(accepted) >= 2
    # A worker that starts when nothing fits any more makes room again, as results expire.
    with here.bench.worker(Recorder(), limits=replace(LIMITS, result_ttl_s=0.01)):
        for one in accepted:
            assert (await here.store.wait(one.job_id, 60)).done == 1
        again = await accepted_again(here.store)
        assert (await here.store.wait(again.job_id, 60)).done == 1


async def test_a_full_disk_is_an_outage_and_loses_nothing(tmp_path: Path, start: Start) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("NO RIGHT TO MOUNT A SMALL DISK HERE: the full disk was not tried, and nothing else covers it")
    try:
        filler = disk / "filler"
        filler.write_bytes(b"f" * 2_000_000)
        here = start(next(iter(binaries().values())), folder=disk)
        with here.bench.worker(Recorder()):
            accepted = await fill(here.store, 100_000, QueueUnavailable)
            assert accepted
            assert here.server.process is not None
            here.server.process.wait(60)  # under appendfsync always it ends rather than answer for what is not written
            filler.unlink()
            here.server.start()  # as `deceptron serve` and a restart policy do until it stays
            accepted.append(await accepted_again(here.store))
            for one in accepted:
                assert (await here.store.wait(one.job_id, 60)).status == "succeeded"
            assert here.bench.pending() == 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S])
async def test_the_clock_is_set_while_work_runs_and_a_worker_dies(tmp_path: Path, start: Start, step_s: int) -> None:
    libraries = sorted(Path("/").glob(FAKETIME))
    if not libraries:
        pytest.skip("NO libfaketime HERE: clock steps were not tried, and nothing else covers them")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {"LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    # Debian's server does not start with it: its allocator asks for the time before libfaketime is ready.
    here = start(binaries()["embedded"], FAKETIME_DONT_FAKE_MONOTONIC="1", **env)
    process = here.bench.process()
    submitted = await here.store.submit(job(here.bench.held))
    await asyncio.to_thread(until, lambda: here.bench.runs())
    before = here.bench.client.time()[0]
    elsewhere = replace(here.bench, folder=tmp_path / "elsewhere")  # who cannot see the death has only the lease
    with elsewhere.worker(Recorder(), limits=SHORT):
        await asyncio.to_thread(until, lambda: here.bench.client.get(here.bench.keys.sweeping))
        clock.write_text(f"{step_s:+d}")
        await asyncio.to_thread(until, lambda: abs(here.bench.client.time()[0] - before) > HOUR_S / 2)
        process.kill()
        status = await here.store.wait(submitted.job_id, 60)
        assert (status.done, status.total) == (1, 1)
        again = await here.store.submit(job(b"after"))
        assert (await here.store.wait(again.job_id, 60)).done == 1
        assert not here.bench.pending()


async def test_a_silent_server_is_told_of_soon(binary: Path, start: Start) -> None:
    here = start(binary)
    await here.store.ping()
    here.server.stall(True)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(QueueUnavailable, match="has not answered within"):
        await here.store.ping()
    assert loop.time() - started < 10 * jobs.PING_S
    here.server.stall(False)
    await here.store.ping()
