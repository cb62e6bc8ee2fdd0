"""``deceptron bench speed-scaling``: two workers against one, and what a job costs the queue when many wait."""

import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.goals import at_least, at_most
from benchmarks.measure import held_out_items
from benchmarks.report import Report, significant
from benchmarks.setup import Setup
from benchmarks.speed_bodies import many_npy
from benchmarks.speed_load import Load, closed_loop
from benchmarks.speed_servers import service
from service.arrays import encode_npy
from service.queue.connection import connect_async
from service.queue.embedded import EmbeddedServer
from service.queue.jobs import JobStore
from service.queue.keys import Keys
from service.queue.records import Chunk, Limits, NewJob
from service.queue.worker import Outcome, Worker, WorkerConfig

HEAVY = "allen_cahn2d"  # tens of milliseconds an item, nearly all of it arithmetic
BODY, CLIENTS = 8, 8
ROUNDS = 3
DEPTHS = (100, 1_000, 10_000, 100_000)
AT_A_DEPTH, BATCH, AT_ONCE = 512, 64, 64
DATA_SEED = 20261125


def run(setup: Setup) -> Report:
    """Both on this machine, everything in one run."""
    report = Report("speed-scaling", setup.command("speed-scaling"))
    _two_workers(report, setup)
    _queued(report, DEPTHS[:2] if setup.quick else DEPTHS)
    return report


def _say(what: str) -> None:
    sys.stderr.write(f"bench speed-scaling: {what}\n")
    sys.stderr.flush()


def _two_workers(report: Report, setup: Setup) -> None:
    burst_s, rounds = (2.0, 1) if setup.quick else (10.0, ROUNDS)
    y = held_out_items(setup.registry.load(HEAVY).problem, BODY, DATA_SEED, 0).y.float().numpy()
    found: dict[int, list[Load]] = {1: [], 2: []}
    _say("starting two services, of one worker and of two")
    with service(1) as one, service(2) as two:
        for number in range(rounds):
            for workers, server in ((1, one), (2, two)):
                _say(f"round {number + 1} of {rounds}: {workers} worker{'s' * (workers > 1)}")
                found[workers].append(closed_loop(server.url, many_npy(HEAVY, y), CLIENTS, burst_s))
    rows = [
        [str(workers), *(significant(load.per_second) for load in loads), significant(_median_ms(loads))]
        for workers, loads in found.items()
    ]
    report.table(
        f"{HEAVY}, npy bodies of {BODY}, {CLIENTS} clients: observations per second",
        ["workers", *(f"round {number + 1}" for number in range(rounds)), "p50, ms"],
        rows,
    )
    ratios = [two.per_second / one.per_second for one, two in zip(*found.values(), strict=True)]
    why = "clients, API and queue share the two cores with the workers"
    report.goals.append(at_least("compute-bound work: two workers' throughput over one's", 1.6, ratios, why))
    report.keep_rows(workers={str(n): [load.per_second for load in loads] for n, loads in found.items()})


def _median_ms(loads: Sequence[Load]) -> float:
    return 1e3 * sorted(load.percentile(50) for load in loads)[len(loads) // 2]


# ------------------------------------------------------------------------------------------------ jobs that wait


def _queued(report: Report, depths: Sequence[int]) -> None:
    """Jobs of one observation, in a queue of their own; the worker answers at once, so that only the queue costs."""
    with tempfile.TemporaryDirectory(prefix="dq") as folder, EmbeddedServer(Path(folder)) as server:
        found = asyncio.run(_costs(server.url, depths))
    rows = [[f"{depth:,}", significant(in_us), significant(out_us)] for depth, (in_us, out_us) in found.items()]
    report.table(
        f"What a job costs the queue, µs, while so many wait (means of {AT_A_DEPTH}; batches of {BATCH})",
        ["jobs waiting", "to submit", "to take, claim, book and acknowledge"],
        rows,
    )
    report.keep_rows(queued={str(depth): list(costs) for depth, costs in found.items()})
    for which, name in enumerate(("submit", "run")):
        first, *more = (costs[which] for costs in found.values())
        figure = f"a job's cost to {name} with {', '.join(f'{d:,}' for d in depths[1:])} waiting over {depths[0]}"
        report.goals.append(at_most(figure, 1.5, [cost / first for cost in more]))


async def _costs(url: str, depths: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Microseconds to submit and to run a job at each depth."""
    client = connect_async(url)
    keys = Keys(f"bench-{secrets.token_hex(4)}:")
    store = JobStore(client, Limits(max_queued_items=2 * max(depths)), keys)
    found, waiting = {}, 0
    try:
        await _submit(store, AT_A_DEPTH + BATCH)
        await asyncio.to_thread(_run, url, keys, AT_A_DEPTH)  # warm
        for depth in depths:
            _say(f"{depth:,} jobs waiting")
            await _submit(store, depth + BATCH - waiting)
            in_s = await _submit(store, AT_A_DEPTH)
            out_s = await asyncio.to_thread(_run, url, keys, AT_A_DEPTH)
            waiting = (await store.depth()).chunks
            found[depth] = (1e6 * in_s / AT_A_DEPTH, 1e6 * out_s / AT_A_DEPTH)
    finally:
        await store.close()
        await client.aclose()
    return found


async def _submit(store: JobStore, count: int) -> float:
    """Seconds that so many submissions took, AT_ONCE at a time."""
    new = NewJob("invert", "heat1d", "bench", (Chunk(encode_npy(np.zeros((1, 64), np.float32)), 1),), None, "")
    began = time.perf_counter()
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(store.submit(new) for _ in range(min(AT_ONCE, count - first))))
    return time.perf_counter() - began


def _run(url: str, keys: Keys, count: int) -> float:
    """Seconds that a worker took for so many jobs, from one batch's beginning to another's."""
    began: list[float] = []
    info = {"device": "none", "engine": "none"}

    def handler(spec: str, payloads: Sequence[bytes]) -> list[Outcome]:
        began.append(time.perf_counter())
        if len(began) * BATCH > count:
            worker.stop()
        return [Outcome({"x": payload}, 0) for payload in payloads]

    worker = Worker(url, handler, WorkerConfig(batch_items=BATCH, window_ms=0.0), Limits(), info, keys)
    worker.run()
    return began[-1] - began[0]
