"""What a worker does with healthy work: batches, windows, results, drain, registration."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
from queue_bench import CONFIG, LIMITS, SHORT, Bench, Recorder, job, parts_of, until

from service.queue import worker
from service.queue.batching import Entry, Outcome, groups
from service.queue.jobs import JobStore
from service.queue.worker import Worker, WorkerConfig

pytestmark = pytest.mark.anyio


async def test_results_come_back_in_order(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"a", b"b", b"c", items=2))
    with bench.worker(Recorder()):
        status = await store.wait(submitted.job_id, 60)
    assert (status.status, status.done, status.total) == ("succeeded", 6, 6)
    assert status.created_at <= (status.started_at or 0) <= (status.finished_at or 0) < (status.expires_at or 0)
    assert [parts["echo"] for parts in await parts_of(store, submitted.job_id)] == [b"a", b"b", b"c"]


async def test_nothing_is_left_behind(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"a", b"b"))
    with bench.worker(Recorder()):
        await store.wait(submitted.job_id, 60)
        assert bench.pending() == 0
    depth = await store.depth()
    assert (depth.items, depth.bytes, depth.chunks) == (0, 0, 0)
    assert bench.client.keys(f"{bench.keys.prefix}payload:*") == []
    assert bench.consumers() == []
    for name in bench.client.keys(f"{bench.keys.prefix}*:{submitted.job_id}*"):
        assert bench.client.pttl(name) > 0, name


@pytest.mark.parametrize(("payloads", "status"), [((b"a", b"!"), "partial"), ((b"!", b"!"), "failed")])
async def test_items_with_errors_of_their_own(
    bench: Bench, store: JobStore, payloads: tuple[bytes, ...], status: str
) -> None:
    submitted = await store.submit(job(*payloads))
    with bench.worker(Recorder()):
        seen = await store.wait(submitted.job_id, 60)
    assert (seen.status, seen.done) == (status, 2)
    assert [parts["echo"] for parts in await parts_of(store, submitted.job_id)] == list(payloads)


async def test_equal_specs_share_a_batch(bench: Bench, store: JobStore) -> None:
    jobs = [await store.submit(job(b"%d" % i, spec="AB"[i % 2])) for i in range(20)]
    recorder = Recorder()
    with bench.worker(recorder):
        for one in jobs:
            assert (await store.wait(one.job_id, 60)).status == "succeeded"
    assert sorted((spec, len(payloads)) for spec, payloads in recorder.batches) == [("A", 10), ("B", 10)]
    for i, one in enumerate(jobs):
        assert await parts_of(store, one.job_id) == [{"echo": b"%d" % i}]


async def test_a_batch_is_never_too_large(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(*(b"%d" % i for i in range(25)), items=3))
    large = await store.submit(job(b"large", items=50))
    recorder = Recorder()
    with bench.worker(recorder, config=replace(CONFIG, batch_items=10)):
        await store.wait(submitted.job_id, 60)
        await store.wait(large.job_id, 60)
    assert [len(payloads) for _, payloads in recorder.batches] == [3] * 8 + [1, 1]
    assert [payload for _, batch in recorder.batches for payload in batch][:25] == [b"%d" % i for i in range(25)]


async def test_the_window_gathers_what_comes_a_little_later(
    bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several came together, the next ones are waited for."""
    waiting, over = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        """A window lasts as long as the test wants, however slow the machine is."""
        waiting.set()
        assert 0 < seconds <= 600
        over.wait(60)

    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=sleep)
    recorder, together = Recorder(), await store.submit(job(b"1", b"2"))
    with bench.worker(recorder, config=replace(CONFIG, window_ms=600_000)):
        await store.wait(together.job_id, 60)
        monkeypatch.setattr(worker, "time", clock)
        first = await store.submit(job(b"a"))
        assert await asyncio.to_thread(waiting.wait, 60)
        second = await store.submit(job(b"b"))
        over.set()
        await store.wait(first.job_id, 60)
        await store.wait(second.job_id, 60)
    assert recorder.batches == [("spec", [b"1", b"2"]), ("spec", [b"a", b"b"])]


async def test_alone_a_request_does_not_wait_for_the_window(bench: Bench, store: JobStore) -> None:
    with bench.worker(Recorder(), config=replace(CONFIG, window_ms=600_000)):
        for payload in (b"a", b"b"):
            submitted = await store.submit(job(payload))
            assert (await store.wait(submitted.job_id, 60)).status == "succeeded"


async def test_a_full_batch_does_not_wait_for_the_window(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"a", b"b"))
    with bench.worker(Recorder(), config=replace(CONFIG, window_ms=600_000, batch_items=2)):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"


async def test_workers_share_the_work(bench: Bench, store: JobStore) -> None:
    both = threading.Barrier(2, timeout=60)  # passes only when two workers are at work at once
    recorders = [Recorder(lambda _: both.wait()) for _ in range(2)]
    submitted = await store.submit(job(*[b"x"] * 4))
    config = replace(CONFIG, batch_items=1)
    with bench.worker(recorders[0], config=config), bench.worker(recorders[1], config=config):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert [len(recorder.batches) for recorder in recorders] == [2, 2]


async def test_a_worker_leaves_the_others_their_share(bench: Bench, store: JobStore) -> None:
    """Of what waits, each worker takes its share, however much room its batch has: nobody idles beside a full queue."""
    go, both = threading.Event(), threading.Barrier(2, timeout=60)

    def gated() -> Recorder:
        """Its first batch waits for the test, its second for the other worker's second."""
        gates: Iterator[Callable[[], object]] = iter((go.wait, both.wait))
        return Recorder(lambda _: next(gates, int)())

    def begun() -> int:
        return sum(len(recorder.batches) for recorder in recorders)

    recorders = [gated(), gated()]
    with bench.worker(recorders[0]), bench.worker(recorders[1]):
        await store.submit(job(b"held"))
        await asyncio.to_thread(until, lambda: begun() == 1)
        await store.submit(job(b"held"))
        await asyncio.to_thread(until, lambda: begun() == 2)
        await asyncio.to_thread(until, lambda: bench.client.zcard(bench.keys.workers) == 2)
        jobs = [await store.submit(job(b"%d" % i)) for i in range(64)]
        go.set()
        for one in jobs:
            await store.wait(one.job_id, 60)
    assert sorted(len(recorder.batches[1][1]) for recorder in recorders) == [16, 32]


async def test_stop_finishes_what_is_held_and_takes_nothing_new(bench: Bench, store: JobStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    def react(_: Sequence[bytes]) -> None:
        running.set()
        go_on.wait(60)

    held = await store.submit(job(b"a", b"b"))
    with bench.worker(Recorder(react)) as worker:
        assert await asyncio.to_thread(running.wait, 60)
        worker.stop()
        late = await store.submit(job(b"late"))
        go_on.set()
        assert (await store.wait(held.job_id, 60)).status == "succeeded"
    assert (await store.status(late.job_id)).status == "queued"
    assert bench.pending() == 0
    assert bench.consumers() == []


async def test_sigterm_drains_a_process(bench: Bench, store: JobStore) -> None:
    process = bench.process(config=replace(CONFIG, batch_items=2))
    submitted = await store.submit(job(bench.held, b"x", b"y", b"z"))
    await asyncio.to_thread(until, lambda: bench.runs())
    process.terminate()
    bench.gate.touch()
    assert await asyncio.to_thread(process.wait, 60) == 0
    assert (await store.status(submitted.job_id)).done == 2
    assert bench.pending() == 0
    assert bench.consumers() == []
    assert await store.workers() == []


async def test_workers_introduce_themselves(bench: Bench, store: JobStore) -> None:
    assert await store.workers() == []
    process = bench.process()
    await asyncio.to_thread(until, lambda: bench.client.exists(bench.keys.workers))
    [info] = await store.workers()
    assert (info.pid, info.device, info.engine, info.models) == (process.pid, "cpu", "test", ("a", "b"))
    assert str(process.pid) in info.id
    assert info.last_seen > 1.7e9
    process.kill()
    process.wait()
    registration = bench.keys.worker(info.id)
    assert 0 < bench.client.pttl(registration) <= 1000 * LIMITS.lease_s
    bench.client.pexpire(registration, 1)  # as if that time had passed
    await asyncio.to_thread(until, lambda: not bench.client.exists(registration))
    assert await store.workers() == []


async def test_stale_consumers_go_and_drifted_counters_are_mended(bench: Bench, store: JobStore) -> None:
    with bench.worker(Recorder()):
        until(lambda: bench.client.exists(bench.keys.workers))
        bench.client.xgroup_createconsumer(bench.keys.stream, "workers", "long-dead")
        bench.client.zadd(bench.keys.workers, {"long-dead": 1.0})
        bench.client.hset(bench.keys.counters, mapping={"items": 77, "bytes": 7})
        until(lambda: "long-dead" not in bench.consumers())
        until(lambda: bench.client.hmget(bench.keys.counters, "items", "bytes") == [b"0", b"0"])
        assert bench.client.zscore(bench.keys.workers, "long-dead") is None


async def test_work_queued_before_any_worker_existed_is_seen(bench: Bench, open_store: Callable[..., JobStore]) -> None:
    store = open_store()
    submitted = await store.submit(job(b"early"))
    with bench.worker(Recorder()):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"


def test_groups_keep_order_and_room() -> None:
    entries = [Entry(str(i), f"c{i}", "AB"[i % 2], items) for i, items in enumerate([4, 1, 4, 1, 4, 30])]
    made = [[entry.id for entry in group] for group in groups(entries, 10)]
    assert sorted(made) == [["0", "2"], ["1", "3"], ["4"], ["5"]]
    assert groups([], 10) == []


def test_settings_that_cannot_work_are_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="block_ms"):
        WorkerConfig(block_ms=5000)
    with pytest.raises(ValueError, match="batch_items"):
        WorkerConfig(batch_items=0)
    with pytest.raises(ValueError, match="periods"):
        WorkerConfig(heartbeat_s=0)
    with pytest.raises(ValueError, match="lease_s"):
        Worker(bench.url, Recorder(), WorkerConfig(heartbeat_s=2), SHORT, {})
    with pytest.raises(ValueError, match="at least one part"):
        Outcome({}, 0)
