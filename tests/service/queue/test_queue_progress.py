"""How far a long chunk has come is told while it runs."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from service.queue.heartbeat import Held
from service.queue.jobs import JobStore
from tests.service.queue.queue_bench import CONFIG, Bench, Recorder, job

pytestmark = pytest.mark.anyio


class Slow:
    """A handler that says that a part is done, and waits."""

    def __init__(self, held: Held, part: float) -> None:
        self.held, self.part, self.go_on = held, part, threading.Event()

    def __call__(self, payloads: Sequence[bytes]) -> None:
        self.held.advance(self.part)
        self.go_on.wait(20)


async def partly_done(store: JobStore, job_id: str) -> None:
    while (await store.status(job_id)).done == 0:
        await asyncio.sleep(0.01)


async def test_a_job_shows_how_much_of_its_running_chunk_is_done(bench: Bench, store: JobStore) -> None:
    held = Held()
    slow = Slow(held, 0.5)
    submitted = await store.submit(job(b"a", b"b", items=8))
    seen: list[int] = []
    with bench.worker(Recorder(slow), config=replace(CONFIG, batch_items=8), held=held):
        async for status in store.events(submitted.job_id):
            seen.append(status.done)
            if status.done in (4, 12):
                slow.go_on.set()
                slow.go_on = threading.Event()
    assert {4, 8, 12, 16} <= set(seen)
    assert seen == sorted(seen)
    assert seen[-1] == 16
    assert not [name for name in bench.client.hkeys(bench.keys.job(submitted.job_id)) if name.startswith(b"partly")]


async def test_the_last_item_is_done_only_with_its_result(bench: Bench, store: JobStore) -> None:
    held = Held()
    slow = Slow(held, 1.0)
    submitted = await store.submit(job(b"a", items=5))
    with bench.worker(Recorder(slow), held=held):
        await partly_done(store, submitted.job_id)
        assert (await store.status(submitted.job_id)).done == 4
        slow.go_on.set()
        assert (await store.wait(submitted.job_id, 20)).done == 5


async def test_what_a_canceled_job_had_done_is_not_counted(bench: Bench, store: JobStore) -> None:
    held = Held()
    slow = Slow(held, 0.5)
    submitted = await store.submit(job(b"a", items=4))
    with bench.worker(Recorder(slow), held=held):
        await partly_done(store, submitted.job_id)
        assert (await store.cancel(submitted.job_id)).done == 0
        slow.go_on.set()


def test_only_what_runs_has_a_part_done() -> None:
    held = Held()
    held.add(["1-0", "2-0"])
    with held.running(["1-0"]):
        held.advance(0.25)
        assert held.parts() == {"1-0": 0.25, "2-0": 0.0}
    with held.running(["2-0"]):
        assert held.parts() == {"1-0": 0.0, "2-0": 0.0}
