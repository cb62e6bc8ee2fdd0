"""What is not done in time fails, whoever looks first: a worker, its sweep, the API, or a request in need of room."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from queue_bench import CONFIG, LIMITS, Bench, Recorder, job, parts_of, until

from service.queue.jobs import ERROR_PART, JobStore, NewJob

pytestmark = pytest.mark.anyio
SINGLE = replace(CONFIG, batch_items=1)


def hasty(*payloads: bytes, deadline_s: float = 600.0) -> NewJob:
    return replace(job(*payloads), deadline_s=deadline_s)


def let_pass(bench: Bench, job_id: str) -> None:
    """The job's deadline was a moment ago; until now it was in good time, however slow the machine is."""
    seconds, _ = bench.client.time()
    assert 0 < bench.client.zscore(bench.keys.deadlines, job_id) - seconds <= 601
    bench.client.zadd(bench.keys.deadlines, {job_id: seconds - 1})


async def test_nobody_works_and_the_deadline_passes(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(hasty(b"a", b"b"))
    assert (await store.status(submitted.job_id)).status == "queued"
    let_pass(bench, submitted.job_id)
    status = await store.status(submitted.job_id)
    assert (status.status, status.done, status.error) == ("failed", 2, "the deadline passed: the job had 600 s")
    assert [parts[ERROR_PART] for parts in await parts_of(store, submitted.job_id)] == [status.error.encode()] * 2
    depth = await store.depth()
    assert (depth.items, depth.bytes, depth.chunks) == (0, 0, 0)
    recorder = Recorder()
    with bench.worker(recorder):
        await store.wait((await store.submit(job(b"next"))).job_id, 60)
    assert recorder.batches == [("spec", [b"next"])]


async def test_waiters_are_woken_by_the_sweep(bench: Bench, store: JobStore) -> None:
    gate = threading.Event()
    busy = await store.submit(job(b"busy"))
    with bench.worker(Recorder(lambda _: gate.wait(60)), config=SINGLE), bench.worker(Recorder(), config=SINGLE):
        submitted = await store.submit(hasty(b"a", deadline_s=0.001))
        await asyncio.to_thread(until, lambda: not bench.client.zscore(bench.keys.deadlines, submitted.job_id))
        gate.set()
        await store.wait(busy.job_id, 60)
    assert bench.client.hget(bench.keys.job(submitted.job_id), "finished_at")


async def test_what_is_done_in_time_is_kept(bench: Bench, store: JobStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    def react(payloads: Sequence[bytes]) -> None:
        if b"slow" in payloads:
            running.set()
            go_on.wait(60)

    submitted = await store.submit(hasty(b"quick", b"slow"))
    with bench.worker(Recorder(react), config=SINGLE):
        assert await asyncio.to_thread(running.wait, 60)
        let_pass(bench, submitted.job_id)
        status = await store.status(submitted.job_id)
        assert (status.status, status.done) == ("partial", 2)
        go_on.set()
        await store.wait((await store.submit(job(b"next"))).job_id, 60)
    quick, slow = await parts_of(store, submitted.job_id)
    assert quick["echo"] == b"quick"
    assert slow[ERROR_PART] == b"the deadline passed: the job had 600 s"  # and the late result was not booked


async def test_overdue_jobs_make_room_for_new_ones(open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=2)
    await store.submit(hasty(b"a", b"b", deadline_s=0.05))
    await asyncio.sleep(0.1)
    assert (await store.submit(job(b"c", b"d"))).created


async def test_no_job_outlives_the_services_own_deadline(bench: Bench, open_store: Callable[..., JobStore]) -> None:
    store = open_store(deadline_s=0.05)
    submitted = [await store.submit(one) for one in (job(b"a"), hasty(b"b", deadline_s=1000.0))]
    await asyncio.sleep(0.1)
    assert [(await store.status(one.job_id)).status for one in submitted] == ["failed", "failed"]


async def test_no_deadline_is_left_behind(bench: Bench, store: JobStore) -> None:
    done, canceled, purged = [await store.submit(job(b"a")) for _ in range(3)]
    await store.cancel(canceled.job_id)
    await store.purge(purged.job_id)
    with bench.worker(Recorder(), limits=LIMITS):
        await store.wait(done.job_id, 60)
    assert not bench.client.exists(bench.keys.deadlines)
