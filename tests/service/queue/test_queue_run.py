"""Submitting and waiting in one: heard of at its end, few looks, nobody kept when the process stops."""

import asyncio
import time

import pytest
from queue_bench import Bench, Recorder, job, until

from service.errors import JobGone, JobNotFinished
from service.queue.jobs import JobStore

pytestmark = pytest.mark.anyio


async def test_a_job_runs_to_its_end(bench: Bench, store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    look = store.status

    async def counted(job_id: str) -> object:
        looks.append(job_id)
        return await look(job_id)

    await store.run(job(b"first"), 0.0)  # subscribes
    monkeypatch.setattr(store, "status", counted)
    with bench.worker(Recorder(lambda payloads: time.sleep(0.2))):
        status = await store.run(job(b"a", b"b"), 60)
    assert (status.status, status.done, status.chunks) == ("succeeded", 2, 2)
    assert len(looks) < 10  # that it began was not worth a look; a second without news would be


async def test_a_job_that_takes_longer_is_given_as_it_is(store: JobStore) -> None:
    status = await store.run(job(b"x"), 0.05)
    assert (status.status, status.total) == ("queued", 1)


async def test_an_equal_request_waits_for_the_first_one(bench: Bench, store: JobStore) -> None:
    first = await store.submit(job(b"x", key="k"))
    waiting = asyncio.create_task(store.run(job(b"x", key="k"), 60))
    await asyncio.sleep(0.05)
    with bench.worker(Recorder()):
        status = await waiting
    assert (status.id, status.status) == (first.job_id, "succeeded")


async def test_nobody_waits_once_let_go(store: JobStore) -> None:
    waiting = [asyncio.create_task(store.run(job(b"x"), 200)), asyncio.create_task(store.run(job(b"y"), 200))]
    until_heard = asyncio.get_running_loop().time() + 60
    while (await store.depth()).items < 2 and asyncio.get_running_loop().time() < until_heard:
        await asyncio.sleep(0.01)
    store.let_go()
    statuses = await asyncio.wait_for(asyncio.gather(*waiting), 100)
    assert [status.status for status in statuses] == ["queued", "queued"]


async def test_a_purged_job_wakes_who_waits(store: JobStore) -> None:
    submitted = await store.submit(job(b"x"))
    waiting = asyncio.create_task(store.wait(submitted.job_id, 200))
    await asyncio.sleep(0.05)
    await store.cancel(submitted.job_id)
    assert (await asyncio.wait_for(waiting, 100)).status == "canceled"


async def test_results_come_in_pages_and_by_name(bench: Bench, store: JobStore) -> None:
    payloads = [str(i).encode() for i in range(7)]
    submitted = await store.submit(job(*payloads))
    with pytest.raises(JobNotFinished):
        await store.parts(await store.status(submitted.job_id))
    with bench.worker(Recorder()):
        status = await store.wait(submitted.job_id, 60)
    pages = [page async for page in store.pages(status, ("echo",), 3)]
    assert [[parts["echo"] for parts in page] for page in pages] == [payloads[:3], payloads[3:6], payloads[6:]]
    with pytest.raises(JobGone):
        await store.parts(status, ("nothing",))


async def test_one_message_tells_of_a_whole_batch(bench: Bench, store: JobStore) -> None:
    pubsub = bench.client.pubsub()
    pubsub.subscribe(bench.keys.channel)
    assert pubsub.get_message(timeout=60)["type"] == "subscribe"
    submitted = [await store.submit(job(b"x")) for _ in range(5)]
    recorder = Recorder()
    with bench.worker(recorder):
        until(lambda: len(recorder.batches) > 0)
        for one in submitted:
            await store.wait(one.job_id, 60)
    bench.client.publish(bench.keys.channel, "the last one")
    told = []
    while (message := pubsub.get_message(timeout=60)["data"].decode()) != "the last one":
        told.append(message.split(" "))
    pubsub.close()
    ended = [word for words in told for word in words if word.endswith("!")]
    assert sorted(ended) == sorted(f"{one.job_id}!" for one in submitted)
    assert len(told) < 10  # five jobs, each begun and ended
