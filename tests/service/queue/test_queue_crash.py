"""What happens when workers die, stall, raise or meet poison: nothing is lost, nothing is booked twice."""

import asyncio
import itertools
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from queue_bench import CONFIG, LIMITS, SHORT, Bench, Recorder, job, parts_of, until

from service.queue.jobs import ERROR_PART, ITEMS_PART, JobStore
from service.queue.keys import GROUP, chunk_id
from service.queue.lua import Scripts
from service.queue.worker import Outcome

pytestmark = pytest.mark.anyio


def delivered(bench: Bench, worker: str) -> tuple[str, str]:
    """Hands the next entry to a worker that exists by name only; its chunk and entry ids."""
    [[_, [(entry, fields)]]] = bench.client.xreadgroup(GROUP, worker, {bench.keys.stream: ">"}, count=1)
    return fields[b"chunk"].decode(), entry.decode()


CALLS = itertools.count()


def begin(
    scripts: Scripts, worker: str, chunk: str, entry: str, alone: int = 1, call: int | None = None
) -> list[bytes | int]:
    """The script's verdict on one chunk; ``call`` names the call, each a new one unless it is given."""
    _, verdict = scripts.run("begin", worker, next(CALLS) if call is None else call, alone, 3, 60, 60, 1, chunk, entry)
    return list(verdict)


def complete(scripts: Scripts, worker: str, chunk: str, attempt: int, result: str) -> bool:
    """Whether the result was booked."""
    [booked] = scripts.run("complete", worker, 60, 60, 0, chunk, attempt, 0, "", 1, "echo", result)
    return bool(booked)


@pytest.fixture
def scripts(bench: Bench) -> Scripts:
    bench.client.xgroup_create(bench.keys.stream, GROUP, id="0", mkstream=True)
    return Scripts(bench.client, bench.keys)


async def test_kill_9_in_the_middle_of_a_batch(bench: Bench, store: JobStore) -> None:
    process = bench.process()
    jobs = [await store.submit(job(bench.held if i == 0 else b"%d" % i)) for i in range(6)]
    await asyncio.to_thread(until, lambda: len(bench.runs()) >= 1)
    process.kill()
    await asyncio.to_thread(process.wait)
    assert bench.pending() >= 1
    recorder = Recorder()
    with bench.worker(recorder):
        for one in jobs:
            assert (await store.wait(one.job_id, 60)).status == "succeeded"
        assert bench.pending() == 0
    times = Counter(payload for _, batch in recorder.batches for payload in batch)
    assert set(times.values()) == {1}
    assert (await store.depth()).items == 0


async def test_a_lease_is_held_by_a_beating_heart_and_runs_out_without_one(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(bench.held))
    process = bench.process()
    await asyncio.to_thread(until, lambda: bench.runs())

    def silent_ms() -> int:
        [held] = bench.client.xpending_range(bench.keys.stream, GROUP, "-", "+", 10)
        return int(held["time_since_delivered"])

    looks = [silent_ms()]

    def beaten() -> bool:
        """A beat has made the lease new."""
        looks.append(silent_ms())
        return looks[-1] < looks[-2]

    await asyncio.to_thread(until, beaten)
    assert (await store.status(submitted.job_id)).status == "running"
    process.kill()
    process.wait()
    elsewhere = replace(bench, folder=bench.folder / "elsewhere")  # who cannot see the death has only the lease
    with elsewhere.worker(Recorder(), limits=SHORT):
        status = await store.wait(submitted.job_id, 60)  # without new work
    assert status.status == "succeeded"


async def test_poison_is_given_up_and_its_batch_mates_live(bench: Bench, store: JobStore) -> None:
    innocent = [await store.submit(job(b"ok%d" % i)) for i in range(5)]
    poison = await store.submit(job(b"good half", b"die", items=7))
    processes = [bench.process() for _ in range(3)]
    for one in innocent:
        assert (await store.wait(one.job_id, 60)).status == "succeeded"
    status = await store.wait(poison.job_id, 60)
    assert (status.status, status.done, status.total) == ("partial", 14, 14)
    assert "given up after 2 attempts" in (status.error or "")
    good, bad = await parts_of(store, poison.job_id)
    assert good["echo"] == b"good half"
    assert b"given up after 2 attempts" in bad[ERROR_PART]
    assert bad[ITEMS_PART] == b"7"
    deaths = [size for size, payload in bench.runs() if payload == b"die"]
    assert len(deaths) == LIMITS.max_attempts
    assert deaths[-1] == 1  # the last time it was alone
    await asyncio.to_thread(until, lambda: sum(one.poll() is not None for one in processes) == LIMITS.max_attempts)
    assert (await store.depth()).items == 0


async def test_an_exception_fails_only_the_chunk_that_raises(bench: Bench, store: JobStore) -> None:
    def react(payloads: Sequence[bytes]) -> None:
        if b"bad" in payloads:
            raise ValueError("no such thing " + "x" * 1000)

    jobs = [await store.submit(job(payload)) for payload in (b"a", b"bad", b"c")]
    recorder = Recorder(react)
    with bench.worker(recorder, limits=replace(LIMITS, lease_s=60)):  # retried at once, not when a lease runs out
        statuses = [await store.wait(one.job_id, 60) for one in jobs]
    assert [status.status for status in statuses] == ["succeeded", "failed", "succeeded"]
    reason = statuses[1].error or ""
    assert reason.startswith("ValueError: no such thing")
    assert len(reason) <= 300
    [parts] = await parts_of(store, jobs[1].job_id)
    assert parts == {ERROR_PART: reason.encode(), ITEMS_PART: b"1"}
    assert [payloads for _, payloads in recorder.batches] == [[b"a", b"bad", b"c"], [b"a"], [b"bad"], [b"c"]]


async def test_a_handler_that_miscounts_fails_the_job(bench: Bench, store: JobStore) -> None:
    class Short(Recorder):
        def __call__(self, spec: str, payloads: Sequence[bytes]) -> list[Outcome]:
            return []

    submitted = await store.submit(job(b"a"))
    with bench.worker(Short()):
        status = await store.wait(submitted.job_id, 60)
    assert status.status == "failed"
    assert "0 outcomes for 1 payloads" in (status.error or "")


async def test_a_late_owner_cannot_book(bench: Bench, store: JobStore, scripts: Scripts) -> None:
    submitted = await store.submit(job(b"x"))
    chunk, entry = delivered(bench, "slow")
    assert begin(scripts, "slow", chunk, entry) == [b"run", 1, b"x"]
    bench.client.xclaim(bench.keys.stream, GROUP, "quick", 0, [entry])
    assert begin(scripts, "quick", chunk, entry) == [b"run", 2, b"x"]
    assert not complete(scripts, "slow", chunk, 1, "late")
    assert (await store.status(submitted.job_id)).status == "running"
    assert complete(scripts, "quick", chunk, 2, "in time")
    assert complete(scripts, "quick", chunk, 2, "again")  # a repeated call is told that it is booked, and books nothing
    assert not complete(scripts, "slow", chunk, 2, "again")
    assert await parts_of(store, submitted.job_id) == [{"echo": b"in time"}]
    assert (await store.status(submitted.job_id)).done == 1


async def test_the_first_result_wins_if_the_taker_has_not_begun(
    bench: Bench, store: JobStore, scripts: Scripts
) -> None:
    submitted = await store.submit(job(b"x"))
    chunk, entry = delivered(bench, "slow")
    begin(scripts, "slow", chunk, entry)
    bench.client.xclaim(bench.keys.stream, GROUP, "quick", 0, [entry])
    assert complete(scripts, "slow", chunk, 1, "first")
    assert begin(scripts, "quick", chunk, entry) == [b"gone"]
    assert await parts_of(store, submitted.job_id) == [{"echo": b"first"}]
    assert bench.pending() == 0


async def test_a_late_heartbeat_does_not_steal_back(bench: Bench, store: JobStore, scripts: Scripts) -> None:
    await store.submit(job(b"x"))
    chunk, entry = delivered(bench, "slow")
    bench.client.xclaim(bench.keys.stream, GROUP, "quick", 0, [entry])
    assert scripts.run("heartbeat", "slow", 5, 2, "pid", "1", entry, 0) == [entry.encode()]
    assert scripts.run("heartbeat", "quick", 5, 2, "pid", "2", entry, 0) == []
    [pending] = bench.client.xpending_range(bench.keys.stream, GROUP, "-", "+", 10)
    assert pending["consumer"] == b"quick"
    assert begin(scripts, "slow", chunk, entry) == [b"gone"]


async def test_what_was_tried_before_is_not_begun_in_company(bench: Bench, store: JobStore, scripts: Scripts) -> None:
    await store.submit(job(b"x"))
    chunk, entry = delivered(bench, "w")
    assert begin(scripts, "w", chunk, entry, alone=0)[:2] == [b"run", 1]
    assert begin(scripts, "w", chunk, entry, alone=0) == [b"alone"]
    assert begin(scripts, "w", chunk, entry, alone=1)[:2] == [b"run", 2]


async def test_a_call_repeated_after_a_lost_answer_counts_one_attempt(
    bench: Bench, store: JobStore, scripts: Scripts
) -> None:
    await store.submit(job(b"x"))
    chunk, entry = delivered(bench, "w")
    for alone in (0, 1):  # the first attempt, in company; a second one, alone
        before = alone + 1
        for _ in range(5):
            assert begin(scripts, "w", chunk, entry, alone=alone, call=100 + alone) == [b"run", before, b"x"]
    assert begin(scripts, "w", chunk, entry) == [b"run", 3, b"x"]
    assert begin(scripts, "w", chunk, entry) == [b"failed"]


async def test_who_leaves_gives_back_what_it_never_began(bench: Bench, store: JobStore, scripts: Scripts) -> None:
    submitted = await store.submit(job(b"x", b"y"))
    held = [delivered(bench, "leaving") for _ in range(2)]
    bench.client.xclaim(bench.keys.stream, GROUP, "other", 0, [held[1][1]])
    assert scripts.run("leave", "leaving", 5000) == 1
    answer = bench.client.xautoclaim(bench.keys.stream, GROUP, "next", 5_000_000, start_id="0-0")
    assert [entry for entry, _ in answer[1]] == [held[0][1].encode()]  # at once, and not the other's
    assert (await store.status(submitted.job_id)).status == "queued"


async def test_a_consumer_with_pending_work_is_not_deleted(bench: Bench, store: JobStore, scripts: Scripts) -> None:
    await store.submit(job(b"x"))
    delivered(bench, "leaving")
    assert scripts.run("leave", "leaving", 5) == 1
    scripts.run("sweep", 0.001)
    assert "leaving" in bench.consumers()
    assert bench.pending() == 1


async def test_a_lost_payload_fails_its_chunk(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(b"x"))
    bench.client.delete(bench.keys.payload(chunk_id(submitted.job_id, 0)))
    with bench.worker(Recorder()):
        assert (await store.wait(submitted.job_id, 60)).error == "the payload was lost"


async def test_a_stalled_worker_loses_its_lease_and_its_say(bench: Bench, open_store: Callable[..., JobStore]) -> None:
    """A worker that is frozen for longer than the lease (SIGSTOP) comes back, and its result is not booked."""
    store = open_store()
    stalled = bench.process()
    submitted = await store.submit(job(bench.held))
    await asyncio.to_thread(until, lambda: bench.runs())
    stalled.send_signal(signal.SIGSTOP)
    running, go_on = threading.Event(), threading.Event()

    def react(_: Sequence[bytes]) -> None:
        running.set()
        go_on.wait(60)

    with bench.worker(Recorder(react), limits=replace(SHORT, max_attempts=3), config=CONFIG):
        await asyncio.to_thread(until, running.is_set)
        stalled.terminate()
        bench.gate.touch()
        stalled.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(stalled.wait, 60) == 0
        assert (await store.status(submitted.job_id)).status == "running"
        go_on.set()
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert await parts_of(store, submitted.job_id) == [{"echo": bench.held}]
