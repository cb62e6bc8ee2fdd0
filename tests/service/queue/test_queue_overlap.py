"""While a full batch is solved the next is decoded and the last one booked; nothing is lost or burnt by it."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from queue_bench import CONFIG, LIMITS, Bench, Recorder, Steps, job, parts_of, until

from service.queue.batching import Abandoned
from service.queue.embedded import EmbeddedServer
from service.queue.heartbeat import Held
from service.queue.jobs import JobStore
from service.queue.lua import Scripts

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0
FOURS = replace(CONFIG, batch_items=4, overlap_up_to_s=DAY_S)
UNDISTURBED = replace(
    FOURS, reclaim_every_s=DAY_S, sweep_every_s=DAY_S
)  # duties that are due come before looking ahead
PATIENT = replace(LIMITS, lease_s=DAY_S)  # nothing is waited out: what goes on, goes on at once


def numbered(count: int) -> list[bytes]:
    return [b"%d" % i for i in range(count)]


def batch_of(payload: bytes) -> int:
    return int(payload) // 4


async def test_the_next_is_decoded_and_the_last_encoded_while_one_is_solved(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        """Solving waits for its neighbours' steps, which could only come after it if nothing overlapped."""
        if step != "solve":
            return
        number = batch_of(payloads[0])
        if number > 0:
            until(lambda: steps.times("encode").keys() >= set(numbered(4 * number)))
        if number < 3:
            until(lambda: steps.times("decode").keys() >= set(numbered(4 * number + 8)))

    steps = Steps(react)
    submitted = await store.submit(job(*numbered(16)))
    with bench.worker(steps, PATIENT, UNDISTURBED):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
        await asyncio.to_thread(until, lambda: not bench.pending())
    for step in ("decode", "solve", "encode"):
        assert steps.times(step) == dict.fromkeys(numbered(16), 1)
    assert [len(payloads) for step, payloads in steps.notes if step == "solve"] == [4, 4, 4, 4]
    assert [parts["echo"] for parts in await parts_of(store, submitted.job_id)] == numbered(16)
    assert {bench.attempts(submitted.job_id, index) for index in range(16)} == {1}


async def test_results_are_there_before_the_next_batch_has_ended(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "solve" and batch_of(payloads[0]) == 1:
            assert go_on.wait(60)

    go_on, steps = threading.Event(), Steps(react)
    jobs = [await store.submit(job(*numbered(8)[first : first + 4])) for first in (0, 4)]
    with bench.worker(steps, PATIENT, UNDISTURBED):
        assert (await store.wait(jobs[0].job_id, 60)).status == "succeeded"
        assert (await store.status(jobs[1].job_id)).status == "running"
        go_on.set()
        assert (await store.wait(jobs[1].job_id, 60)).status == "succeeded"


@pytest.mark.parametrize(("waiting", "workers", "taken"), [(3, 1, 0), (4, 1, 4), (9, 1, 4), (6, 2, 0), (7, 2, 4)])
async def test_ahead_of_time_only_a_full_batch_is_taken(
    bench: Bench, store: JobStore, waiting: int, workers: int, taken: int
) -> None:
    """Full of what is this worker's share: what the others could have is left to them."""
    scripts = Scripts(bench.client, bench.keys)
    scripts.run("group")
    bench.client.zadd(bench.keys.workers, {f"w{i}": 1.0 for i in range(workers)})
    await store.submit(job(*numbered(waiting)))
    assert len(scripts.run("take", "w0", 4, 0, 1)) == taken
    assert bench.pending() == taken


async def test_full_is_what_has_no_room_for_the_next(bench: Bench, store: JobStore) -> None:
    scripts = Scripts(bench.client, bench.keys)
    scripts.run("group")
    bench.client.zadd(bench.keys.workers, {"w": 1.0})
    await store.submit(job(*numbered(3), items=3))
    assert len(scripts.run("take", "w", 7, 0, 1)) == 2
    assert scripts.run("take", "w", 7, 0, 1) == []  # 3 of 7, and nothing behind it
    assert len(scripts.run("take", "w", 7, 0, 0)) == 1


async def test_what_does_not_fill_a_batch_is_left_in_the_queue(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "encode" or batch_of(payloads[0]) == 1:
            seen.append(bench.pending())

    seen = list[int]()
    submitted = await store.submit(job(*numbered(7)))
    with bench.worker(Steps(react), PATIENT, UNDISTURBED):
        await store.wait(submitted.job_id, 60)
    assert seen[0] == 4  # as the first batch is encoded, the three behind it still wait


async def test_without_a_full_queue_there_is_no_second_thread(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        names.update(thread.name for thread in threading.enumerate())

    names = set[str]()
    with bench.worker(Steps(react), PATIENT, FOURS):
        for payloads in (b"1",), (b"2", b"3", b"4"):
            submitted = await store.submit(job(*payloads))
            assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert "queue-heartbeat" in names
    assert "queue-beside" not in names


async def test_long_solves_do_not_look_ahead(bench: Bench, store: JobStore) -> None:
    """Other workers can have what waits meanwhile."""
    held = list[int]()

    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "encode":
            held.append(bench.pending())

    submitted = await store.submit(job(*numbered(12)))
    with bench.worker(Steps(react), PATIENT, replace(UNDISTURBED, overlap_up_to_s=1e-9)):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert held == [8, 4, 4]  # the first could not be known to be long


async def test_after_a_long_solve_short_ones_look_ahead_again(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "solve" and payloads[0] == b"0":
            time.sleep(0.5)
        if step == "decode" and threading.current_thread().name == "queue-beside":
            ahead.add(batch_of(payloads[0]))

    ahead = set[int]()
    submitted = await store.submit(job(*numbered(40)))
    with bench.worker(Steps(react), PATIENT, replace(UNDISTURBED, overlap_up_to_s=0.4)):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert 1 in ahead
    assert 2 not in ahead  # beside the second batch nobody looked ahead: the first had been long
    assert ahead & set(range(3, 10))


async def test_stop_gives_back_what_was_decoded_and_not_begun(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "solve":
            until(lambda: steps.times("decode").keys() >= set(numbered(8)))
            worker.stop()
            stopped.set()

    stopped, steps = threading.Event(), Steps(react)
    submitted = await store.submit(job(*numbered(12)))
    with bench.worker(steps, PATIENT, UNDISTURBED) as worker:
        await asyncio.to_thread(until, lambda: stopped.is_set() and not bench.client.zcard(bench.keys.workers))
    assert (await store.status(submitted.job_id)).done == 4
    assert [bench.attempts(submitted.job_id, index) for index in range(12)] == [1] * 4 + [0] * 8
    with bench.worker(Recorder(), PATIENT):  # at once, though leases last a day
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert {bench.attempts(submitted.job_id, index) for index in range(12)} == {1}


async def test_kill_9_burns_no_attempt_of_what_was_decoded(bench: Bench, store: JobStore) -> None:
    submitted = await store.submit(job(bench.held, *numbered(7)))
    process = bench.process(PATIENT, UNDISTURBED)
    decoded = bench.folder / "decoded.log"
    await asyncio.to_thread(until, lambda: decoded.exists() and len(decoded.read_bytes().split()) == 8, 60)
    assert bench.pending() == 8
    process.kill()
    assert await asyncio.to_thread(process.wait) == -9
    assert [bench.attempts(submitted.job_id, index) for index in range(8)] == [1] * 4 + [0] * 4
    recorder = Recorder()
    with bench.worker(recorder, PATIENT):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert sorted(len(payloads) for _, payloads in recorder.batches) == [1, 1, 1, 1, 4]
    assert [bench.attempts(submitted.job_id, index) for index in range(8)] == [2] * 4 + [1] * 4


@pytest.mark.parametrize("step", ["decode", "solve", "encode"])
@pytest.mark.parametrize("bad", [b"1", b"5", b"10"])
async def test_whatever_step_fails_only_the_guilty_fails(bench: Bench, store: JobStore, step: str, bad: bytes) -> None:
    """In the first, a middle, or the last of three full batches."""

    def react(what: str, payloads: Sequence[bytes]) -> None:
        if what == step and bad in payloads:
            raise ValueError("no such thing")

    submitted, steps = await store.submit(job(*numbered(12))), Steps(react)
    with bench.worker(steps, PATIENT, UNDISTURBED):
        status = await store.wait(submitted.job_id, 60)
        await asyncio.to_thread(until, lambda: not bench.pending())
    assert (status.status, status.done) == ("partial", 12)
    assert status.error == "ValueError: no such thing"
    mates = {payload for payload in numbered(12) if batch_of(payload) == batch_of(bad)}
    attempts = [bench.attempts(submitted.job_id, int(payload)) for payload in numbered(12)]
    assert attempts == [2 if payload in mates else 1 for payload in numbered(12)]
    expected = [payload for payload in numbered(12) if payload != bad]
    assert [parts["echo"] for parts in await parts_of(store, submitted.job_id) if "echo" in parts] == expected


async def test_a_decode_that_fails_ahead_of_time_is_done_again_in_time(bench: Bench, store: JobStore) -> None:
    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "decode" and payloads[0] == b"6" and steps.times("decode")[b"6"] == 1:
            raise MemoryError("not now")

    submitted, steps = await store.submit(job(*numbered(8))), Steps(react)
    with bench.worker(steps, PATIENT, UNDISTURBED):
        assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
    assert steps.times("decode")[b"6"] == 2
    assert {bench.attempts(submitted.job_id, index) for index in range(8)} == {1}


@pytest.mark.parametrize("step", ["decode", "solve", "encode"])
async def test_an_outage_in_any_step_loses_nothing(
    bench: Bench, tmp_path: Path, open_store: Callable[..., JobStore], step: str
) -> None:
    server = EmbeddedServer(tmp_path / "queue").start()
    store, met = open_store(server.url), threading.Event()

    def react(what: str, payloads: Sequence[bytes]) -> None:
        if what == step and b"5" in payloads and not met.is_set():
            met.set()
            server.stop()
            server.start()

    steps = Steps(react)
    try:
        submitted = await store.submit(job(*numbered(16)))
        with bench.worker(steps, url=server.url, config=FOURS):
            assert (await store.wait(submitted.job_id, 60)).status == "succeeded"
        assert met.is_set()
        assert set(steps.times("solve").values()) == {1}
    finally:
        await store.close()
        server.stop()


async def test_only_the_batch_that_is_solved_is_asked_about(bench: Bench, store: JobStore) -> None:
    """Canceling what is decoded takes it out; canceling what is solved abandons it, and the next goes on."""
    held = Held()

    def react(step: str, payloads: Sequence[bytes]) -> None:
        if step == "solve" and payloads[0] == b"0":
            ready.set()
            until(lambda: not held.wanted())
            raise Abandoned("nobody waits")
        if step == "solve":
            assert held.wanted()

    ready, steps = threading.Event(), Steps(react)
    jobs = [await store.submit(job(*numbered(12)[first : first + 4])) for first in (0, 4, 8)]
    with bench.worker(steps, PATIENT, UNDISTURBED, held=held):
        await asyncio.to_thread(until, lambda: ready.is_set() and len(steps.times("decode")) == 8)
        await store.cancel(jobs[1].job_id)
        await asyncio.to_thread(until, lambda: len(held.parts()) == 4)
        assert held.wanted()
        await store.cancel(jobs[0].job_id)
        assert (await store.wait(jobs[2].job_id, 60)).status == "succeeded"
        await asyncio.to_thread(until, lambda: not held.parts())
    assert [set(payloads) for step, payloads in steps.notes if step == "solve"] == [
        set(numbered(4)),
        set(numbered(12)[8:]),
    ]
    assert [(await store.status(one.job_id)).status for one in jobs] == ["canceled", "canceled", "succeeded"]
