"""Cancel, expiry, purge, waiting and events."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from queue_bench import CONFIG, LIMITS, Bench, Recorder, job, parts_of, until

from service.errors import JobGone, JobNotFound
from service.queue import jobs
from service.queue.batching import Abandoned
from service.queue.heartbeat import Held
from service.queue.jobs import JobStatus, JobStore

pytestmark = pytest.mark.anyio
SINGLE = replace(CONFIG, batch_items=1)


class Gate:
    """A reaction that stops the handler until it is opened."""

    def __init__(self) -> None:
        self.running, self.open = threading.Event(), threading.Event()

    def __call__(self, _: Sequence[bytes]) -> None:
        self.running.set()
        self.open.wait(60)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.running.wait, 60)


async def test_cancel_before_it_runs(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"a", b"b"))
    other = await store.submit(job(b"other"))
    status = await store.cancel(submitted.job_id)
    assert (status.status, status.finished) == ("canceled", True)
    assert (await store.depth()).chunks == 1
    recorder = Recorder()
    with bench.worker(recorder):
        await store.wait(other.job_id, 60)
    assert recorder.batches == [("spec", [b"other"])]
    with pytest.raises(JobGone, match="canceled"):
        await parts_of(store, submitted.job_id)


async def test_cancel_while_it_runs(bench: Bench, store: JobStore) -> None:
    gate = Gate()
    submitted = await store.submit(job(b"a", b"b"))
    mate = await store.submit(job(b"mate"))
    with bench.worker(Recorder(gate)):
        await gate.reached()
        assert (await store.cancel(submitted.job_id)).status == "canceled"
        depth = await store.depth()
        assert (depth.items, depth.bytes, depth.chunks) == (1, 4, 1)
        gate.open.set()
        assert (await store.wait(mate.job_id, 60)).status == "succeeded"
        assert bench.pending() == 0
    assert (await store.status(submitted.job_id)).status == "canceled"
    assert (await store.status(submitted.job_id)).done == 0
    assert not bench.client.keys(f"{bench.keys.prefix}result:{submitted.job_id}*")


async def test_what_runs_is_given_up_once_it_is_canceled(bench: Bench, store: JobStore) -> None:
    """A handler that asks between its steps is told, as long as nobody else in the batch waits for it."""
    held = Held()

    def endless(payloads: Sequence[bytes]) -> None:
        until(lambda: not held.wanted() or b"short" in payloads)
        if b"short" not in payloads:
            raise Abandoned("as it should")

    both = [await store.submit(job(payload)) for payload in (b"one", b"other")]
    recorder = Recorder(endless)
    with bench.worker(recorder, held=held):
        await asyncio.to_thread(until, lambda: recorder.batches)
        await store.cancel(both[0].job_id)
        await asyncio.sleep(5 * CONFIG.heartbeat_s)
        assert len(recorder.batches) == 1  # the other one is still wanted
        await store.cancel(both[1].job_id)
        short = await store.submit(job(b"short"))
        assert (await store.wait(short.job_id, 60)).status == "succeeded"
        assert bench.pending() == 0
    assert [(await store.status(one.job_id)).status for one in both] == ["canceled"] * 2
    assert [payloads for _, payloads in recorder.batches] == [[b"one", b"other"], [b"short"]]


async def test_cancel_when_half_done_and_when_done(bench: Bench, store: JobStore) -> None:
    gate = Gate()
    submitted = await store.submit(job(b"a", b"b"))
    with bench.worker(Recorder(lambda payloads: gate(payloads) if b"b" in payloads else None), config=SINGLE):
        await gate.reached()
        behind = await store.submit(job(b"behind"))
        status = await store.cancel(submitted.job_id)
        assert (status.status, status.done) == ("canceled", 1)
        assert ((await store.depth()).items, (await store.depth()).bytes) == (1, len(b"behind"))
        gate.open.set()
        await store.wait(behind.job_id, 60)
    assert (await store.cancel(behind.job_id)).status == "succeeded"
    assert len(await parts_of(store, behind.job_id)) == 1
    assert not bench.client.keys(f"{bench.keys.prefix}result:{submitted.job_id}*")


async def test_results_expire_and_leave_a_tombstone(bench: Bench, store: JobStore) -> None:
    short = replace(LIMITS, result_ttl_s=0.2, record_ttl_s=600)
    submitted = await store.submit(job(b"a", b"b"))
    with bench.worker(Recorder(), limits=short):
        status = await store.wait(submitted.job_id, 60)
    assert (status.expires_at or 0) - (status.finished_at or 0) == pytest.approx(0.2, abs=1e-3)
    await asyncio.sleep(0.25)
    status = await store.status(submitted.job_id)
    assert (status.status, status.done, status.finished) == ("expired", 2, True)
    assert (await store.wait(submitted.job_id, 5)).status == "expired"
    with pytest.raises(JobGone, match="expired"):
        await parts_of(store, submitted.job_id)
    tombstone = bench.keys.job(submitted.job_id)
    assert bench.client.keys(f"{bench.keys.prefix}*{submitted.job_id}*") == [tombstone.encode()]
    assert 0 < bench.client.pttl(tombstone) <= 600_000
    bench.client.delete(tombstone)  # as if that time had passed
    with pytest.raises(JobNotFound):
        await store.status(submitted.job_id)


async def test_waiting_in_the_queue_does_not_use_up_lifetimes(
    bench: Bench, open_store: Callable[..., JobStore]
) -> None:
    store = open_store(result_ttl_s=0.05, record_ttl_s=0.05)
    submitted = await store.submit(job(b"a"))
    await asyncio.sleep(0.15)
    assert (await store.status(submitted.job_id)).status == "queued"


@pytest.mark.parametrize("run_first", [True, False])
async def test_purge_leaves_no_trace(bench: Bench, store: JobStore, run_first: bool) -> None:
    submitted = await store.submit(job(b"a", b"b", key="k"))
    if run_first:
        with bench.worker(Recorder()):
            await store.wait(submitted.job_id, 60)
    await store.purge(submitted.job_id)
    with pytest.raises(JobNotFound):
        await store.status(submitted.job_id)
    assert (await store.depth()).items == 0
    assert not bench.client.keys(f"{bench.keys.prefix}*{submitted.job_id}*")
    assert not bench.client.keys(f"{bench.keys.prefix}idempotency:*")


async def test_purge_while_it_runs(bench: Bench, store: JobStore) -> None:
    gate = Gate()
    submitted = await store.submit(job(b"a"))
    with bench.worker(Recorder(gate)):
        await gate.reached()
        await store.purge(submitted.job_id)
        gate.open.set()
        other = await store.submit(job(b"b"))
        assert (await store.wait(other.job_id, 60)).status == "succeeded"
    assert not bench.client.keys(f"{bench.keys.prefix}*{submitted.job_id}*")


async def test_wait_is_woken_by_the_end_and_not_by_the_clock(
    bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 200.0)
    gate = Gate()
    submitted = await store.submit(job(b"a"))
    with bench.worker(Recorder(gate)):
        waiting = [asyncio.create_task(store.wait(submitted.job_id, 200)) for _ in range(20)]
        await gate.reached()
        assert not any(task.done() for task in waiting)
        before = asyncio.get_running_loop().time()
        gate.open.set()
        statuses = await asyncio.gather(*waiting)
        assert asyncio.get_running_loop().time() - before < 100
    assert {status.status for status in statuses} == {"succeeded"}
    await asyncio.to_thread(until, lambda: bench.client.pubsub_numsub(bench.keys.channel)[0][1])
    assert bench.client.pubsub_numsub(bench.keys.channel)[0][1] == 1  # one subscription, however many wait


async def test_wait_gives_up_at_its_time(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 200.0)
    submitted = await store.submit(job(b"a"))
    before = asyncio.get_running_loop().time()
    assert (await store.wait(submitted.job_id, 0.1)).status == "queued"
    assert (await store.wait(submitted.job_id, 0.0)).status == "queued"
    assert asyncio.get_running_loop().time() - before < 100


async def test_wait_notices_also_without_messages(
    bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages go elsewhere, as after a lost connection: the waiter looks by itself."""
    monkeypatch.setattr(store._listener, "_channel", "nobody-talks-here")
    submitted = await store.submit(job(b"a"))
    with bench.worker(Recorder()):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"


async def test_waiters_survive_a_cut_subscription(bench: Bench, store: JobStore) -> None:
    gate = Gate()
    submitted = await store.submit(job(b"a"))
    with bench.worker(Recorder(gate)):
        waiting = asyncio.create_task(store.wait(submitted.job_id, 60))
        await gate.reached()
        bench.client.client_kill_filter(_type="pubsub")
        bench.client.client_kill_filter(_type="normal", skipme=True)
        gate.open.set()
        assert (await waiting).status == "succeeded"


async def test_events_tell_the_progress_and_end(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(*(b"%d" % i for i in range(5))))
    seen: list[JobStatus] = []
    steps = threading.Semaphore(0)
    with bench.worker(Recorder(lambda _: steps.acquire(timeout=60)), config=SINGLE):
        async for status in store.events(submitted.job_id):
            seen.append(status)
            steps.release()
    assert [status.done for status in seen] == sorted(status.done for status in seen)
    assert seen[-1].status == "succeeded"
    assert {status.done for status in seen} >= {0, 5}
    assert len(seen) >= 4
    assert all(not status.finished for status in seen[:-1])
    again = [status async for status in store.events(submitted.job_id)]
    assert again == [seen[-1]]


async def test_events_of_a_canceled_and_of_an_unknown_job(store: JobStore) -> None:
    submitted = await store.submit(job(b"a"))
    events = store.events(submitted.job_id)
    assert (await anext(events)).status == "queued"
    await store.cancel(submitted.job_id)
    assert (await anext(events)).status == "canceled"
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    with pytest.raises(JobNotFound):
        await anext(store.events("nosuchjob"))


async def test_a_closed_store_leaves_no_task(store: JobStore) -> None:
    submitted = await store.submit(job(b"a"))
    await store.wait(submitted.job_id, 0.01)
    await store.close()
    await store.close()
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "queue-listener"] == []
