"""The window of diagnostics: bounded, shared, written by workers after their work and never at its expense."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from queue_bench import LIMITS, Bench, Recorder, job, until
from redis.exceptions import ConnectionError as RedisConnectionError

from service.errors import QueueUnavailable
from service.queue.connection import connect_async
from service.queue.jobs import JobStore
from service.queue.window import Bounds, Gathered, Sample, Standing, Windows, WindowWriter
from service.queue.worker import Finished

pytestmark = pytest.mark.anyio
SAMPLE = Sample(0.30037895, 1.02, 0.44, "in_range")
Open = Callable[[Bounds], tuple[WindowWriter, Windows]]


def numbered(count: int) -> list[Sample]:
    return [Sample(float(i), 1.0, 0.5, "suspect") for i in range(count)]


@pytest.fixture
async def open_window(bench: Bench) -> AsyncIterator[Open]:
    clients = []

    def opening(bounds: Bounds) -> tuple[WindowWriter, Windows]:
        writer = WindowWriter(bench.url, bounds, bench.keys)
        bench.stack.callback(writer.close)
        clients.append(connect_async(bench.url))
        return writer, Windows(clients[-1], bounds, bench.keys)

    yield opening
    for client in clients:
        await client.aclose()


async def test_what_workers_write_is_what_the_api_reads(open_window: Open) -> None:
    (one, windows), (other, _) = open_window(Bounds()), open_window(Bounds())
    one.push({"m:1": [SAMPLE], "n:1": numbered(2)})
    other.push({"m:1": [Sample(float("nan"), float("inf"), 0.0005, "out_of_range")]})
    window, standing = await windows.read("m:1")
    assert [timed.sample.verdict for timed in window] == ["in_range", "out_of_range"]
    assert window[0].sample == SAMPLE
    assert abs(window[0].at - time.time()) < 60
    assert standing == Standing()
    assert len((await windows.read("n:1"))[0]) == 2
    assert await windows.read("unheard:1") == ([], Standing())


async def test_what_comes_close_together_is_written_at_once(
    open_window: Open, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gathered, "PAUSE_S", 0.05)
    writer, windows = open_window(Bounds(items=10))
    gathered, trips, push = Gathered(writer), list[int](), writer.push

    def counted(windows: Mapping[str, Sequence[Sample]]) -> None:
        trips.append(sum(map(len, windows.values())))
        push(windows)

    monkeypatch.setattr(writer, "push", counted)
    for i in range(12):
        gathered.push({"m:1": numbered(i + 1)[-1:], "n:1": [SAMPLE]})
    until(lambda: bench.client.llen(bench.keys.window("m:1")))
    assert [timed.sample.rjcp for timed in (await windows.read("m:1"))[0]] == list(range(2, 12))
    assert len(trips) < 6  # of twelve; how many fit into one depends on how busy the machine is
    gathered.push({"m:1": [SAMPLE]})
    gathered.close()  # what is left is written
    assert (await windows.read("m:1"))[0][-1].sample == SAMPLE


async def test_an_absent_server_ends_no_gathering(open_window: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gathered, "PAUSE_S", 0.0)
    writer, windows = open_window(Bounds())
    gathered, push, refused = Gathered(writer), writer.push, list[int]()

    def refuse(_: Mapping[str, Sequence[Sample]]) -> None:
        refused.append(1)
        raise RedisConnectionError("away")

    monkeypatch.setattr(writer, "push", refuse)
    gathered.push({"m:1": [SAMPLE]})
    until(lambda: refused)
    monkeypatch.setattr(writer, "push", push)
    gathered.push({"m:1": numbered(1)})
    gathered.close()
    assert [timed.sample for timed in (await windows.read("m:1"))[0]] == numbered(1)


async def test_the_count_is_bounded(open_window: Open, bench: Bench) -> None:
    writer, windows = open_window(Bounds(items=10))
    for _ in range(3):
        writer.push({"m:1": numbered(7)})
    assert [timed.sample.rjcp for timed in (await windows.read("m:1"))[0]] == [4, 5, 6, *range(7)]
    writer.push({"m:1": numbered(20_000)})  # more than one command takes
    assert [timed.sample.rjcp for timed in (await windows.read("m:1"))[0]] == list(range(19_990, 20_000))
    assert bench.client.llen(bench.keys.window("m:1")) == 10


async def test_the_age_is_bounded(open_window: Open, bench: Bench) -> None:
    writer, windows = open_window(Bounds(age_s=100.0))
    kept = bench.keys.window("m:1")
    writer.push({"m:1": numbered(3)})
    for index, line in enumerate(bench.client.lrange(kept, 0, -1)):  # as if 101 seconds had passed
        at, rest = line.split(b" ", 1)
        bench.client.lset(kept, index, b"%.6f %s" % (float(at) - 101, rest))
    writer.push({"m:1": [SAMPLE]})
    assert bench.client.llen(kept) == 4
    assert [timed.sample for timed in (await windows.read("m:1"))[0]] == [SAMPLE]
    assert bench.client.llen(kept) == 1
    assert 0 < bench.client.pttl(kept) <= 100_000  # nothing is left of a model nobody asks for


async def test_a_state_keeps_its_beginning_until_it_changes(open_window: Open) -> None:
    _, windows = open_window(Bounds())
    first = await windows.judge("m:1", Standing(), "ok")
    assert first.since is not None
    assert await windows.judge("m:1", first, "ok") == first
    critical = await windows.judge("m:1", first, "critical")
    assert critical.state == "critical"
    assert critical.since is not None
    assert critical.since > first.since
    # Somebody who looked before that change does not undo it.
    assert await windows.judge("m:1", first, "warning") == critical
    assert (await windows.read("m:1"))[1] == critical


async def test_an_absent_server_is_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    windows = Windows(connect_async(f"unix://{tmp_path}/nobody"), Bounds())
    with pytest.raises(QueueUnavailable):
        await windows.read("m:1")


@dataclass
class Notebook:
    """An observer that notes what it is told; ``broken`` makes it fail each time."""

    broken: bool = False
    batches: list[Finished] = field(default_factory=list)
    repeated: int = 0
    given_up: int = 0

    def finished(self, batch: Finished) -> None:
        self.batches.append(batch)
        if self.broken:
            raise RuntimeError("no ink")

    def redelivered(self, chunks: int) -> None:
        self.repeated += chunks

    def poisoned(self, items: int) -> None:
        self.given_up += items


@pytest.mark.parametrize("broken", [False, True])
async def test_observers_hear_of_booked_work_and_cannot_harm_it(bench: Bench, store: JobStore, broken: bool) -> None:
    submitted = await store.submit(job(b"a", b"b", items=3))
    time.sleep(0.05)
    notebook = Notebook(broken)
    with bench.worker(Recorder(), observer=notebook):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
        again = await store.submit(job(b"c"))
        assert (await store.wait(again.job_id, 60)).status == "succeeded"
    first, second = notebook.batches
    assert (first.spec, first.items, len(first.outcomes)) == ("spec", 6, 2)
    assert all(0.05 <= waited_s < 60 for waited_s in first.waited_s)
    assert (second.items, len(second.waited_s)) == (1, 1)
    assert 0 <= second.compute_s < 60


async def test_observers_hear_of_repetitions_and_poison(bench: Bench, store: JobStore) -> None:
    def refuse(payloads: object) -> None:
        raise RuntimeError("asked to")

    submitted = await store.submit(job(b"a", b"b", items=2))
    notebook = Notebook()
    with bench.worker(Recorder(refuse), observer=notebook):
        assert (await store.wait(submitted.job_id, 60)).status == "failed"
        until(lambda: notebook.given_up == 4)
    assert (notebook.repeated, notebook.batches) == (2, [])


async def test_observers_hear_of_chunks_that_killed_their_workers(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"die", items=5))
    for _ in range(LIMITS.max_attempts):
        assert bench.process().wait(60) == -9
    notebook = Notebook()
    with bench.worker(Recorder(), observer=notebook):
        assert (await store.wait(submitted.job_id, 60)).status == "failed"
        until(lambda: notebook.given_up == 5)


async def test_the_age_of_the_oldest_work(bench: Bench, store: JobStore) -> None:
    assert (await store.depth()).oldest_s == 0
    await store.submit(job(b"a"))
    time.sleep(0.1)
    await store.submit(job(b"b"))
    assert 0.1 <= (await store.depth()).oldest_s < 60
