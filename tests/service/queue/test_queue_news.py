"""A small job's end comes with its results; calls of one turn of the event loop go out together."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from queue_bench import Bench, Recorder, job, parts_of
from redis.exceptions import ConnectionError as RedisConnectionError

from service.errors import IdempotencyConflict, QueueFull, QueueUnavailable
from service.queue import jobs, together
from service.queue.jobs import JobStore
from service.queue.news import ended_jobs

pytestmark = pytest.mark.anyio
BYTES = bytes(range(256))


def blind(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on looking fails: what is known must have come by itself."""

    def look(*_: object) -> object:
        raise AssertionError("it looked")

    monkeypatch.setattr(jobs, "POLL_S", 600.0)
    monkeypatch.setattr(store, "_record", look)
    monkeypatch.setattr(store, "_fetch", look)


async def test_small_jobs_come_whole_with_the_news(
    bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.run(job(b"first"), 0.0)  # subscribes
    await asyncio.wait_for(store._listener._hearing.wait(), 60)
    payloads = [b"%d" % i + BYTES for i in range(5)]
    with monkeypatch.context() as patch, bench.worker(Recorder()):
        blind(store, patch)
        ended = await asyncio.gather(*(store.run(job(payload), 200) for payload in payloads))
        told = [await store.parts(status) for status in ended]
    assert told == [[{"echo": payload}] for payload in payloads]
    assert ended == [await store.status(status.id) for status in ended]
    assert [await parts_of(store, status.id) for status in ended] == told  # it is stored as ever


async def test_what_is_large_in_parts_or_waited_for_by_nobody_is_looked_up(bench: Bench, store: JobStore) -> None:
    pubsub = bench.client.pubsub()
    pubsub.psubscribe(f"{bench.keys.prefix}answers:*")
    assert pubsub.get_message(timeout=60)["type"] == "psubscribe"
    with bench.worker(Recorder()):
        large = await store.run(job(b"x" * 20_000), 200)
        two = await store.run(job(b"a", b"b"), 200)
        alone = await store.wait((await store.submit(job(b"c"))).job_id, 200)
        small = await store.run(job(b"small"), 200)
    assert [status.results is None for status in (large, two, alone, small)] == [True, True, True, False]
    assert await store.parts(large) == [{"echo": b"x" * 20_000}]
    assert await store.parts(two) == [{"echo": b"a"}, {"echo": b"b"}]
    bench.client.publish(bench.keys.answers("nobody"), b"the last one")
    messages = []
    while (message := pubsub.get_message(timeout=60)["data"]) != b"the last one":
        messages.append(message)
    pubsub.close()
    assert [status.id for data in messages for status in ended_jobs(data)] == [small.id]


async def test_a_failed_job_and_lost_news_are_looked_up(
    bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise ValueError("no")

    with bench.worker(Recorder(fails)):
        status = await store.run(job(b"a"), 200)
    assert (status.status, status.results) == ("failed", None)
    monkeypatch.setattr(store._listener, "id", "somebody else")
    with bench.worker(Recorder()):
        status = await store.run(job(b"a"), 200)
    assert (status.status, status.results) == ("succeeded", None)
    assert await store.parts(status) == [{"echo": b"a"}]


async def test_submissions_of_one_turn_go_together(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.submit(job(b"the script is known now"))
    trips, pipeline = [], store._client.pipeline

    def counted(*args: Any, **options: Any) -> Any:
        trips.append(1)
        return pipeline(*args, **options)

    monkeypatch.setattr(store._client, "pipeline", counted)
    found = await asyncio.gather(*(store.submit(job(b"x")) for _ in range(20)))
    assert len({one.job_id for one in found}) == 20
    assert len(trips) == 1
    monkeypatch.setattr(together, "LARGE_BYTES", 10)
    await asyncio.gather(store.submit(job(b"x" * 11)), store.submit(job(b"x" * 11)))
    assert len(trips) == 1  # each by itself


async def test_who_comes_meanwhile_goes_with_the_next_trip(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    trips, under_way, go_on, answers = list[int](), asyncio.Event(), asyncio.Event(), store._submits._answers

    async def held_up(calls: list[Any]) -> list[Any]:
        trips.append(len(calls))
        under_way.set()
        await go_on.wait()
        return await answers(calls)

    monkeypatch.setattr(store._submits, "_answers", held_up)
    monkeypatch.setattr(together, "MOST", 3)
    waiting = [asyncio.create_task(store.submit(job(b"x")))]
    await under_way.wait()
    waiting += [asyncio.create_task(store.submit(job(b"x"))) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert trips == [1]
    go_on.set()
    assert len({one.job_id for one in await asyncio.gather(*waiting)}) == 6
    assert trips == [1, 3, 2]


async def test_an_outage_is_told_to_all_who_wait(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, answers = asyncio.Event(), store._submits._answers

    async def lost(calls: list[Any]) -> list[Any]:
        under_way.set()
        await asyncio.sleep(0.05)
        raise RedisConnectionError("away")

    monkeypatch.setattr(store._submits, "_answers", lost)
    waiting = [asyncio.create_task(store.submit(job(b"x")))]
    await under_way.wait()
    waiting.append(asyncio.create_task(store.submit(job(b"x"))))
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [QueueUnavailable] * 2
    monkeypatch.setattr(store._submits, "_answers", answers)
    assert (await store.submit(job(b"x"))).created  # the next one is tried again


async def test_each_of_those_that_go_together_has_its_own_answer(open_store: Callable[..., JobStore]) -> None:
    store = open_store(max_queued_items=4)
    first = await store.submit(job(b"x", key="k"))
    jobs_ = [job(b"x", key="k"), job(b"y", key="k", digest="other"), job(b"z", items=4), job(b"w", items=3)]
    same, conflict, full, fits = await asyncio.gather(*map(store.submit, jobs_), return_exceptions=True)
    assert not isinstance(same, BaseException)
    assert (same.job_id, same.created) == (first.job_id, False)
    assert isinstance(conflict, IdempotencyConflict)
    assert isinstance(full, QueueFull)
    assert not isinstance(fits, BaseException)
    assert (await store.depth()).items == 4


async def test_a_server_that_forgot_the_script_is_told_it_again(bench: Bench, store: JobStore) -> None:
    await store.submit(job(b"x"))
    bench.client.script_flush()
    found = await asyncio.gather(*(store.submit(job(b"x")) for _ in range(3)))
    assert [one.created for one in found] == [True] * 3
    assert (await store.depth()).chunks == 4


async def test_who_goes_away_leaves_the_others(store: JobStore) -> None:
    waiting = [asyncio.create_task(store.submit(job(b"x"))) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gone, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(gone, asyncio.CancelledError)
    assert not any(isinstance(one, BaseException) for one in others)


async def test_only_the_end_is_told_of_a_small_job_whose_sender_waits(bench: Bench, store: JobStore) -> None:
    pubsub = bench.client.pubsub()
    pubsub.subscribe(bench.keys.channel)
    assert pubsub.get_message(timeout=5)["type"] == "subscribe"
    with bench.worker(Recorder()):
        waited = await store.run(job(b"a"), 20)
        looked = await store.wait((await store.submit(job(b"b"))).job_id, 20)
        parts = await store.run(job(b"c", b"d"), 20)
    told = []
    while message := pubsub.get_message(timeout=0.2):
        told += message["data"].decode().split(" ")
    pubsub.close()
    assert [word for word in told if waited.id in word] == [f"{waited.id}!"]
    assert [word for word in told if looked.id in word] == [looked.id, f"{looked.id}!"]
    assert next(word for word in told if parts.id in word) == parts.id
