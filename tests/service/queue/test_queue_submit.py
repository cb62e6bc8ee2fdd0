"""Admission: idempotency, bounds, and that it all happens in one step."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from queue_bench import Bench, Recorder, job, parts_of, until

from service.errors import BodyTooLarge, IdempotencyConflict, JobNotFinished, JobNotFound, QueueFull, QueueUnavailable
from service.queue.connection import API_CONNECTIONS
from service.queue.jobs import Chunk, JobStore, Limits, NewJob
from service.queue.keys import Keys

pytestmark = pytest.mark.anyio


async def test_a_submitted_job_is_queued(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"one", b"three", items=3))
    status = await store.status(submitted.job_id)
    assert submitted.created
    assert (status.status, status.done, status.total, status.kind, status.model) == ("queued", 0, 6, "invert", "toy")
    assert [status.started_at, status.finished_at, status.expires_at, status.error] == [None] * 4
    assert (status.spec, status.chunks) == ("spec", 2)
    depth = await store.depth()
    assert (depth.items, depth.bytes, depth.chunks) == (6, 8, 2)
    with pytest.raises(JobNotFinished):
        await parts_of(store, submitted.job_id)


async def test_stream_entries_hold_ids_only(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"p" * 10_000))
    [(_, fields)] = bench.client.xrange(bench.keys.stream)
    assert set(fields) == {b"chunk", b"job", b"spec", b"items"}
    assert not bench.client.hexists(bench.keys.job(submitted.job_id), "trace")
    assert fields[b"job"].decode() == submitted.job_id
    assert sum(map(len, fields.values())) < 120


async def test_a_trace_lies_in_the_record_and_in_every_entry(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(replace(job(b"a", b"b"), trace="00-1-2-01"))
    assert bench.client.hget(bench.keys.job(submitted.job_id), "trace") == b"00-1-2-01"
    assert [fields[b"trace"] for _, fields in bench.client.xrange(bench.keys.stream)] == [b"00-1-2-01"] * 2


async def test_same_key_and_request_is_the_same_job(store: JobStore) -> None:
    first = await store.submit(job(b"x", key="k", digest="d1"))
    again = await store.submit(job(b"x", key="k", digest="d1"))
    other = await store.submit(job(b"x", key="k2", digest="d1"))
    assert (again.job_id, again.created) == (first.job_id, False)
    assert other.created
    assert (await store.depth()).chunks == 2
    with pytest.raises(IdempotencyConflict) as conflict:
        await store.submit(job(b"y", key="k", digest="d2"))
    assert conflict.value.errors[0].field == "Idempotency-Key"


async def test_concurrent_submissions_with_one_key_make_one_job(open_store: Callable[..., JobStore]) -> None:
    stores = [open_store() for _ in range(4)]
    answers = await asyncio.gather(*(stores[i % 4].submit(job(b"x", key="k")) for i in range(40)))
    assert len({answer.job_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    assert (await stores[0].depth()).chunks == 1


async def test_a_crowd_larger_than_the_pool_waits_its_turn(open_store: Callable[..., JobStore]) -> None:
    store = open_store()
    submitted = await asyncio.gather(*(store.submit(job(b"x", key="k")) for _ in range(3 * API_CONNECTIONS)))
    assert len({one.job_id for one in submitted}) == 1


async def test_a_call_repeated_after_a_lost_answer_makes_one_job(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "a" * 2 * size)  # what redis-py sends again is the same call
    answers = [await store.submit(job(b"x", key=key)) for key in (None, None, "k")]
    assert [answer.created for answer in answers] == [True] * 3
    assert (await store.depth()).chunks == 1


async def test_a_key_is_forgotten_after_its_time_and_with_its_job(open_store: Callable[..., JobStore]) -> None:
    store = open_store(idempotency_ttl_s=0.05)
    first = await store.submit(job(b"x", key="short"))
    await asyncio.sleep(0.1)
    assert (await store.submit(job(b"x", key="short"))).job_id != first.job_id
    purged = await open_store().submit(job(b"x", key="purged"))
    await store.purge(purged.job_id)
    assert (await store.submit(job(b"other", key="purged", digest="other"))).created


async def test_bounds_on_items_and_bytes(bench: Bench, open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=10, max_queued_bytes=100)
    held = await store.submit(job(b"a" * 60, items=6))
    with pytest.raises(QueueFull) as full:
        await store.submit(job(b"a", items=5))
    assert full.value.retry_after_s is not None
    assert 1 <= full.value.retry_after_s <= 60
    with pytest.raises(QueueFull):
        await store.submit(job(b"a" * 41))
    assert (await store.depth()).chunks == 1
    assert (await store.submit(job(b"a" * 40, items=4))).created
    await store.cancel(held.job_id)
    assert (await store.submit(job(b"a" * 60, items=6))).created
    assert not bench.client.keys(f"{bench.keys.prefix}idempotency:*")


async def test_a_refused_job_does_not_use_up_its_key(open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=2)
    held = await store.submit(job(b"x", items=2))
    with pytest.raises(QueueFull):
        await store.submit(job(b"y", key="k"))
    await store.cancel(held.job_id)
    assert (await store.submit(job(b"y", key="k"))).created


async def test_many_clients_never_pass_the_bound(open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=25)
    answers = await asyncio.gather(*(store.submit(job(b"x")) for _ in range(60)), return_exceptions=True)
    assert sum(isinstance(answer, QueueFull) for answer in answers) == 35
    assert (await store.depth()).items == 25


async def test_the_wait_follows_the_measured_rate(bench: Bench, open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=100)
    await store.submit(job(b"x", items=100))
    bench.client.hset(bench.keys.counters, "rate", 5)
    with pytest.raises(QueueFull) as full:
        await store.submit(job(b"x", items=50))
    assert full.value.retry_after_s == pytest.approx(10.0)


async def test_a_job_larger_than_the_queue_is_told_so(open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=10, max_queued_bytes=100)
    with pytest.raises(BodyTooLarge):
        await store.submit(job(b"x", items=11))
    with pytest.raises(BodyTooLarge):
        await store.submit(job(b"x" * 101))


async def test_unknown_jobs(store: JobStore) -> None:
    for call in (store.status, store.cancel, store.purge):
        with pytest.raises(JobNotFound):
            await call("nosuchjob")
    with pytest.raises(JobNotFound):
        await store.wait("nosuchjob", 0.1)


async def test_no_server_is_queue_unavailable(open_store: Callable[..., JobStore]) -> None:
    store = open_store("unix:///nowhere/queue.sock")
    calls: list[Awaitable[object]] = [
        store.ping(),
        store.depth(),
        store.workers(),
        store.submit(job(b"x")),
        store.status("a"),
        store.run(job(b"x"), 1.0),
    ]
    calls += [store.cancel("a"), store.purge("a"), store.wait("a", 0.1)]
    for call in calls:
        with pytest.raises(QueueUnavailable) as unavailable:
            await call
        assert unavailable.value.retry_after_s


async def test_prefixes_do_not_meet(bench: Bench, store: JobStore) -> None:
    await store.submit(job(b"x"))
    recorder, elsewhere = Recorder(), replace(bench, keys=Keys(f"{bench.keys.prefix}other:"))
    with elsewhere.worker(recorder):
        until(lambda: bench.client.exists(elsewhere.keys.workers))
    assert recorder.batches == []
    assert (await store.depth()).chunks == 1


def test_nonsense_is_refused_when_built() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        Chunk(b"", 0)
    with pytest.raises(ValueError, match="at least one chunk"):
        NewJob("invert", "toy", "spec", (), None, "d")
    with pytest.raises(ValueError, match="max_attempts"):
        Limits(max_attempts=1)
