"""That a chunk has begun is not written to the disk: a server that dies forgets it; nothing is lost or done twice."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from queue_bench import LIMITS, Bench, Recorder, job, until

from service.queue.connection import connect, connect_async
from service.queue.embedded import EmbeddedServer
from service.queue.jobs import JobStore
from service.queue.keys import GROUP, Keys
from service.queue.lua import Scripts

pytestmark = pytest.mark.anyio


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path / "data") as running:
        yield running


def written(bench: Bench) -> int:
    return int(bench.client.info("persistence")["aof_current_size"])


async def test_to_begin_writes_nothing_to_the_disk(
    bench: Bench, own_server: EmbeddedServer, open_store: Callable[..., JobStore]
) -> None:
    """On a server of its own: elsewhere what other tests have left behind expires, and that is written."""
    store, client = open_store(own_server.url), connect(own_server.url)
    bench.stack.callback(client.close)
    bench = replace(bench, client=client)
    scripts = Scripts(bench.client, bench.keys)
    scripts.run("group")
    submitted = await store.submit(job(b"a"))
    [[_, [(entry, _)]]] = bench.client.xreadgroup(GROUP, "me", {bench.keys.stream: ">"})
    chunk, before = f"{submitted.job_id}:0", written(bench)
    rules = (1, 0, 3, LIMITS.result_ttl_s, LIMITS.record_ttl_s, 1)
    _, [verdict, attempt, _] = scripts.run("begin", "me", *rules, chunk, entry)
    assert (verdict, attempt, written(bench)) == (b"run", 1, before)
    assert (await store.status(submitted.job_id)).status == "running"
    complete = ("me", LIMITS.result_ttl_s, LIMITS.record_ttl_s, 0, chunk, 1, 0, "", 1, "echo", b"a")
    assert scripts.run("complete", *complete) == [1]
    assert written(bench) > before


class Killed:
    """A handler's reaction: the server dies while it runs, and comes back."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server, self.runs = server, 0

    def __call__(self, payloads: Sequence[bytes]) -> None:
        self.runs += 1
        if self.runs == 1:
            with closing(connect(self.server.url)) as client:
                pid = int(client.info("server")["process_id"])
            os.kill(pid, signal.SIGKILL)
            until(lambda: not self.server.alive())
            self.server.start()


async def test_what_runs_while_the_server_dies_is_booked_by_who_ran_it(tmp_path: Path) -> None:
    recorder = Recorder()
    with EmbeddedServer(tmp_path / "data") as server, closing(connect(server.url)) as client, ExitStack() as stack:
        recorder.react = Killed(server)
        asking = connect_async(server.url)
        bench, store = Bench(server.url, Keys(), client, tmp_path, stack), JobStore(asking, LIMITS, Keys())
        submitted = await store.submit(job(b"a"))
        with bench.worker(recorder):
            status = await store.wait(submitted.job_id, 60)
        found = await store.parts(status)
        await store.close()
        await asking.aclose()
    assert (status.status, status.done) == ("succeeded", 1)
    assert status.started_at is not None
    assert (recorder.batches, found) == ([("spec", [b"a"])], [{"echo": b"a"}])  # once


async def test_a_worker_that_expects_more_survives_the_loss_of_all_data(bench: Bench, store: JobStore) -> None:
    """It takes what it expects before it waits: that too must notice that the server has lost everything."""
    together = [await store.submit(job(b"a")) for _ in range(3)]
    recorder = Recorder()
    with bench.worker(recorder):
        for one in together:
            await store.wait(one.job_id, 60)
        bench.client.delete(*bench.client.keys(f"{bench.keys.prefix}*"))
        again = await store.submit(job(b"b"))
        assert (await store.wait(again.job_id, 60)).status == "succeeded"
    assert [len(payloads) for _, payloads in recorder.batches] == [3, 1]
