"""``deceptron bench speed-memory``: what a service's processes hold in a huge job and a long soak."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import httpx
import numpy as np

from benchmarks.goals import at_most
from benchmarks.measure import held_out_items
from benchmarks.report import Report
from benchmarks.setup import Setup
from benchmarks.speed_bodies import NPY, finished, many_npy, single
from benchmarks.speed_load import closed_loop, connection, request
from benchmarks.speed_servers import Server, service
from service.arrays import encode_npy

MODEL = "heat1d"
HUGE, LIMIT_MIB = 100_000, 1024
SOAK_S, WARM_SHARE, WINDOW_SHARE = 600.0, 0.25, 0.1
GROWTH = 0.03
EVERY_S = 0.25
DATA_SEED = 20261125
KEPT_S = "20"  # the queue's server holds results for an hour otherwise: they are its purpose, not a leak


@dataclass
class Watched:
    """Memory of each process as time went on: role and process id -> (seconds, bytes) pairs."""

    began: float = field(default_factory=time.perf_counter)
    seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def peaks(self) -> dict[str, int]:
        """The most that a process of each role held; the queue's server has children, for its snapshots."""
        peaks: dict[str, int] = {}
        for name, pairs in self.seen.items():
            role = name.split()[0]
            peaks[role] = max(peaks.get(role, 0), *(held for _, held in pairs))
        return peaks

    def between(self, start_s: float, stop_s: float) -> dict[str, float]:
        """Median of what each process held in a span of time; processes that were not there are left out."""
        spans = {role: [held for at, held in pairs if start_s <= at <= stop_s] for role, pairs in self.seen.items()}
        return {role: median(held) for role, held in spans.items() if held}


@contextmanager
def watching(server: Server) -> Iterator[Watched]:
    """Looks at the server's processes every EVERY_S seconds, from a thread."""
    watched, stop = Watched(), threading.Event()

    def look() -> None:
        while not stop.wait(EVERY_S):
            for role, held in server.resident_bytes().items():
                watched.seen.setdefault(role, []).append((time.perf_counter() - watched.began, held))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        stop.set()
        thread.join()


def run(setup: Setup) -> Report:
    """One job of 100,000 observations, then a soak at full load."""
    report = Report("speed-memory", setup.command("speed-memory"))
    items, soak_s = (2_000, 8.0) if setup.quick else (HUGE, SOAK_S)
    y = held_out_items(setup.registry.load(MODEL).problem, 1024, DATA_SEED, 0).y.float().numpy()
    _say("starting a service of one worker")
    with service(1) as server:
        _huge(report, server, np.tile(y, (items // len(y) + 1, 1))[:items])
    _say("starting a service of one worker, results kept for a short time")
    with service(1, result_ttl_s=KEPT_S, record_ttl_s=KEPT_S, idempotency_ttl_s=KEPT_S) as server:
        _soak(report, server, y, soak_s)
    return report


def _say(what: str) -> None:
    sys.stderr.write(f"bench speed-memory: {what}\n")
    sys.stderr.flush()


def _huge(report: Report, server: Server, y: np.ndarray) -> None:
    _say(f"one job of {len(y):,} observations")
    with watching(server) as watched, connection(server.url) as line:
        sent = request("POST", f"/invert?model={MODEL}", encode_npy(y), content_type=NPY)
        document = finished(line, line.ask(sent))
        numbers = len(line.ask(request("GET", f"/jobs/{document['id']}/result", accept=NPY)).body)
        text = _read_through(f"{server.url}/jobs/{document['id']}/result")
    peaks = watched.peaks()
    report.text(
        f"One job of {len(y):,} observations ({document['status']}), sent as npy; its result read as npy "
        f"({numbers / 2**20:.0f} MiB) and as JSON ({text / 2**20:.0f} MiB)."
    )
    report.table(
        f"Most memory held, one job of {len(y):,} observations",
        ["process", "resident, MiB"],
        [[role, f"{held / 2**20:.0f}"] for role, held in peaks.items()],
    )
    report.keep_rows(observations=len(y), peaks=peaks)
    figure = f"one job of {len(y):,} observations: MiB per process, at most"
    report.goals.append(at_most(figure, LIMIT_MIB, [held / 2**20 for held in peaks.values()]))


def _read_through(url: str) -> int:
    """Length of an answer that is too long to keep."""
    with httpx.stream("GET", url, timeout=300, headers={"accept": "application/json"}) as answer:
        answer.raise_for_status()
        return sum(len(block) for block in answer.iter_bytes())


def _soak(report: Report, server: Server, y: np.ndarray, soak_s: float) -> None:
    """Single JSON and npy bodies at once, as fast as they are answered."""
    _say(f"soak of {soak_s:g} s")
    answered = {}

    def load(name: str, work: Callable[[], float]) -> threading.Thread:
        thread = threading.Thread(target=lambda: answered.update({name: work()}))
        thread.start()
        return thread

    with watching(server) as watched:
        threads = [
            load("single JSON, 16 clients",
                 lambda: closed_loop(server.url, single(MODEL, y[0]), 16, soak_s).per_second),
            load(f"npy of {len(y)}, 2 clients",
                 lambda: closed_loop(server.url, many_npy(MODEL, y), 2, soak_s).per_second),
        ]  # fmt: skip
        for thread in threads:
            thread.join()
    if len(answered) < len(threads):
        raise RuntimeError("the load ended before its time; see the errors above")
    ended = max(at for pairs in watched.seen.values() for at, _ in pairs)
    warm, late = WARM_SHARE * ended, (1 - WINDOW_SHARE) * ended
    before, after = watched.between(warm, warm + WINDOW_SHARE * ended), watched.between(late, ended)
    growth = {role: after[role] / before[role] - 1 for role in before.keys() & after.keys()}
    rows = [
        [role.split()[0], f"{before[role] / 2**20:.1f}", f"{after[role] / 2**20:.1f}", f"{100 * growth[role]:+.2f} %"]
        for role in sorted(growth)
    ]
    spans = f"medians of {WINDOW_SHARE:.0%} of the time, after the first {WARM_SHARE:.0%} and at the end"
    report.table(f"Memory in a soak of {soak_s:g} s ({spans})", ["process", "warm, MiB", "end, MiB", "growth"], rows)
    told = ", ".join(f"{name}: {rate:.0f} observations per second" for name, rate in answered.items())
    report.text(f"The load: {told}. Results are kept for {KEPT_S} s: so the queue's server comes to a steady state.")
    report.keep_rows(soak_s=soak_s, growth=growth, before=before, after=after, answered=answered)
    figure = f"growth of resident memory in a soak of {soak_s:g} s, per process"
    report.goals.append(
        at_most(figure, GROWTH, list(growth.values()), "the queue's server holds what is kept of its load")
    )
