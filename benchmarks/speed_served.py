"""``deceptron bench speed-service``: a real server on loopback, against the engine in process and against its peers."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from statistics import median
from tempfile import TemporaryFile

import numpy as np
import torch

from benchmarks.goals import Goal, at_least, at_most
from benchmarks.measure import held_out_items, timed
from benchmarks.report import Report, significant
from benchmarks.setup import Setup, one_thread
from benchmarks.speed_bodies import Stages, many_json, many_npy, predicted, single
from benchmarks.speed_load import Load, closed_loop, open_loop
from benchmarks.speed_servers import PEERS, Server, peer, service
from service.inference import Inference, SolveSpec

MODEL = "heat1d"
BULK = 4096
CLIENTS = 32
BULK_CLIENTS = 2
SIZES = (1, 64, 1024, BULK)
RATES = (0.25, 0.5, 0.75)  # of what the closed loop reached
DATA_SEED = 20261125
ROUNDS = 3
ENGINE, BARE = f"engine in process, {BULK} at once", "engine in process, one at a time"
BULK_LOAD = f"npy of {BULK}, ours, {BULK_CLIENTS} clients"
Loads = dict[str, list[Load]]


@one_thread()
def run(setup: Setup) -> Report:
    """Service and peers; what is compared takes turns, so that the rest of the machine falls on all."""
    report = Report("speed-service", setup.command("speed-service"))
    report.text(
        "One thread a process, servers and load on one machine; bursts of what is compared take turns, and every ratio "
        f"is of one round. {MODEL}, full diagnostics; the service has its durable queue and one worker, the peers the "
        "same solve and no queue. A closed loop sends the next request when the last is answered; an open loop sends "
        "at fixed times, and counts waiting from when a request was due."
    )
    y = held_out_items(setup.registry.load(MODEL).problem, BULK, DATA_SEED, 0).y.float().numpy()
    with ExitStack() as stack:
        servers = {"ours": stack.enter_context(service(1))}
        for name in PEERS:
            _say(f"starting {name}")
            try:
                servers[name] = stack.enter_context(peer(name, MODEL))
            except TimeoutError as error:
                report.text(f"{name} was not measured: {error}.")
        _measure(report, setup, servers, y)
    return report


def _say(what: str) -> None:
    sys.stderr.write(f"bench speed-service: {what}\n")
    sys.stderr.flush()


def _measure(report: Report, setup: Setup, servers: Mapping[str, Server], y: np.ndarray) -> None:
    burst_s, rounds = (0.5, 1) if setup.quick else (4.0, ROUNDS)
    inference = Inference(setup.registry.root, "cpu")
    spec = SolveSpec(MODEL, inference.manifest(MODEL).version, ("auto",))
    bursts: dict[str, Callable[[], Load]] = {
        ENGINE: partial(_in_process, inference, spec, y, burst_s),
        BARE: partial(_in_process, inference, spec, y[:1], burst_s / 4),
        **_compared(servers, y, burst_s),
    }
    loads: Loads = {name: [] for name in bursts}
    disk_ms: list[float] = []
    for number in range(rounds):
        disk_ms.append(_disk_ms())
        for name, burst in bursts.items():
            _say(f"round {number + 1} of {rounds}: {name}")
            loads[name].append(burst())
    report.goals += _goals(loads)
    told = ", ".join(significant(each) for each in disk_ms)
    report.text(f"The queue waits for its disk before it answers: fdatasync took {told} ms (medians by round).")
    report.keep_rows(disk_ms=disk_ms)
    _load_table(report, "Closed loop", loads)
    ours, reached = servers["ours"].url, median(load.per_second for load in loads[_single(CLIENTS)])
    _load_table(report, "Open loop, single JSON", _open(ours, y[0], reached, burst_s))
    _load_table(report, "By size of the body, 2 clients", _sizes(ours, y, burst_s / 2))
    _stage_table(report, _stages(ours, y, burst_s / 2))


def _disk_ms(writes: int = 100) -> float:
    """Milliseconds that 2 KiB take to the disk under the servers' folders, at rest: the median."""
    with TemporaryFile() as file:
        taken = []
        for _ in range(writes):
            file.write(bytes(2048))
            file.flush()
            taken.append(1e3 * timed(lambda: os.fdatasync(file.fileno()))[1])
    return median(taken)


def _compared(servers: Mapping[str, Server], y: np.ndarray, burst_s: float) -> dict[str, Callable[[], Load]]:
    ours = servers["ours"].url
    bursts: dict[str, Callable[[], Load]] = {
        BULK_LOAD: partial(closed_loop, ours, many_npy(MODEL, y), BULK_CLIENTS, burst_s)
    }
    for clients in (1, CLIENTS):
        bursts[_single(clients)] = partial(closed_loop, ours, single(MODEL, y[0]), clients, burst_s)
        for name in sorted(servers.keys() - {"ours"}):
            url = servers[name].url
            bursts[_single(clients, name)] = partial(closed_loop, url, predicted(y[0]), clients, burst_s)
    return bursts


def _single(clients: int, name: str = "ours") -> str:
    return f"single JSON, {name}, {clients} client{'s' * (clients > 1)}"


def _in_process(inference: Inference, spec: SolveSpec, y: np.ndarray, burst_s: float) -> Load:
    """The same observations again and again, without any server."""
    waited: list[float] = []
    while not waited or sum(waited) < burst_s:
        waited.append(timed(lambda: inference.solve(spec, y))[1])
    return Load(len(y) * len(waited), sum(waited), waited)


def _open(url: str, row: np.ndarray, reached: float, burst_s: float) -> Loads:
    loads: Loads = {}
    for share in RATES:
        _say(f"open loop at {share:g} of {reached:.0f} per second")
        load = open_loop(url, single(MODEL, row), share * reached, CLIENTS, burst_s)
        loads[f"{share * reached:.0f} due per second ({share:g} of the closed loop)"] = [load]
    return loads


def _sizes(url: str, y: np.ndarray, burst_s: float) -> Loads:
    loads: Loads = {}
    for size in SIZES:
        _say(f"bodies of {size}")
        loads[f"npy of {size}"] = [closed_loop(url, many_npy(MODEL, y[:size]), 2, burst_s)]
        if size <= 64:  # what is answered in place
            loads[f"JSON of {size}"] = [closed_loop(url, many_json(MODEL, y[:size]), 2, burst_s)]
    return loads


def _stages(url: str, y: np.ndarray, burst_s: float) -> dict[str, Stages]:
    found = {_single(1): Stages(), _single(CLIENTS): Stages(), f"npy of {BULK}, 1 client": Stages()}
    one, crowd, bulk = found.values()
    _say("where the time goes")
    closed_loop(url, single(MODEL, y[0], one), 1, burst_s)
    closed_loop(url, single(MODEL, y[0], crowd), CLIENTS, burst_s)
    closed_loop(url, many_npy(MODEL, y, bulk), 1, burst_s)
    return found


def _load_table(report: Report, title: str, loads: Loads) -> None:
    """Each figure the median of the rounds; all rounds in the rows."""
    rows = []
    for name, rounds in loads.items():
        times = [significant(1e3 * median(load.percentile(p) for load in rounds)) for p in (50, 95, 99)]
        rows.append([name, significant(median(load.per_second for load in rounds)), *times])
        for number, load in enumerate(rounds):
            waited = torch.tensor(load.waited_s).quantile(torch.linspace(0, 1, 101))
            report.keep_rows(load=name, round=number, per_second=load.per_second, waited_s=waited)
    report.table(title, ["load", "observations per second", "p50, ms", "p95, ms", "p99, ms"], rows)


def _stage_table(report: Report, stages: Mapping[str, Stages]) -> None:
    means = {name: one.means() for name, one in stages.items()}
    rows = []
    for stage in next(iter(means.values())):
        cells = [f"{significant(1e3 * of[stage])} ({of[stage] / sum(of.values()):.0%})" for of in means.values()]
        rows.append([stage, *cells])
    report.keep_rows(stages=means)
    report.table("Where a request's time goes, mean ms (share)", ["stage", *means], rows)


def _goals(loads: Loads) -> list[Goal]:
    """One value a round."""

    def ratios(ours: str, theirs: str) -> list[float]:
        return [a.per_second / b.per_second for a, b in zip(loads[ours], loads[theirs], strict=True)]

    pairs = zip(loads[_single(1)], loads[BARE], strict=True)
    over_ms = [1e3 * (load.percentile(50) - bare.percentile(50)) for load, bare in pairs]
    told = [name for name in PEERS if _single(CLIENTS, name) in loads]
    return [
        at_least(
            f"npy bodies of {BULK}, full diagnostics: the service's throughput over the engine's in process",
            0.6,
            ratios(BULK_LOAD, ENGINE),
        ),
        at_most(
            "single JSON, one client: p50 over the bare solve, ms",
            5,
            over_ms,
            "reading and checking, a queue that writes to the disk before it answers, diagnostics, the news of the end",
        ),
        *(
            at_least(
                f"single JSON, {CLIENTS} clients: throughput over {name}'s",
                1,
                ratios(_single(CLIENTS), _single(CLIENTS, name)),
                "ours has each request and each result on the disk before it tells of it",
            )
            for name in told
        ),
    ]
