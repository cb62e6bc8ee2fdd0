"""``deceptron bench speed-overlap``: a worker that decodes and writes beside the solve, against one that does not."""

import sys
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np

from benchmarks.measure import cpu_timed, held_out_items
from benchmarks.report import Report, significant, significant_spread
from benchmarks.setup import Setup, one_thread
from benchmarks.speed_bodies import many_npy, single
from benchmarks.speed_device import Waiting, seconds_a_batch
from benchmarks.speed_load import Load, Send, closed_loop
from benchmarks.speed_servers import Server, service
from service.arrays import encode_npy
from service.handler import SolveHandler
from service.inference import Inference, SolveSpec

MODEL = "heat1d"  # the cheapest solve: what lies beside it matters most
BULK, BULK_CLIENTS, CLIENTS = 4096, 2, 32
BATCH, CHUNK = 1024, 256  # as the settings have them
DEVICE_MS = (5, 20, 80)
WAYS = ("off", "on")
ROUNDS = 8
DATA_SEED = 20261125
COLUMNS = ["load", "a second, off", "on", "on / off", "p50 ms, off", "on", "worker's CPU, µs an observation, off", "on"]
Burst = Callable[[Server], Load]


def run(setup: Setup) -> Report:
    """One worker each, in turn, in one run; every ratio is of one round."""
    report = Report("speed-overlap", setup.command("speed-overlap"))
    report.text(
        f"Two services of one worker, {MODEL} with full diagnostics, durable queues: one with `DECEPTRON_OVERLAP=on`. "
        f"Bursts take turns. Full batches wait only under bodies of {BULK}; single observations must see no change."
    )
    y = held_out_items(setup.registry.load(MODEL).problem, BULK, DATA_SEED, 0).y.float().numpy()
    with service(1, overlap="off") as off, service(1, overlap="on") as on:
        for name, burst in _bursts(y, 1.0 if setup.quick else 5.0).items():
            _compare(report, name, burst, dict(zip(WAYS, (off, on), strict=True)), 2 if setup.quick else ROUNDS)
    report.table("Medians of the rounds; ratios with their quartiles", COLUMNS, [row["cells"] for row in report.rows])
    inference = Inference(setup.registry.root, "cpu")
    _steps(report, inference, y, 3 if setup.quick else 15)
    _on_a_device(report, inference, y, *((4, 1) if setup.quick else (24, 5)))
    return report


def _bursts(y: np.ndarray, burst_s: float) -> dict[str, Burst]:
    loads = {
        f"npy of {BULK}, {BULK_CLIENTS} clients": (many_npy(MODEL, y), BULK_CLIENTS),
        "single JSON, 1 client": (single(MODEL, y[0]), 1),
        f"single JSON, {CLIENTS} clients": (single(MODEL, y[0]), CLIENTS),
    }
    return {name: partial(_burst, send, clients, burst_s) for name, (send, clients) in loads.items()}


def _burst(send: Send, clients: int, burst_s: float, server: Server) -> Load:
    return closed_loop(server.url, send, clients, burst_s)


def _compare(report: Report, name: str, burst: Burst, servers: dict[str, Server], rounds: int) -> None:
    rates, p50, cpu = ({way: list[float]() for way in WAYS} for _ in range(3))
    for number in range(rounds):
        sys.stderr.write(f"bench speed-overlap: {name}, round {number + 1} of {rounds}\n")
        for way in WAYS if number % 2 else WAYS[::-1]:
            before = _worker_s(servers[way])
            load = burst(servers[way])
            rates[way].append(load.per_second)
            p50[way].append(1e3 * load.percentile(50))
            cpu[way].append(1e6 * (_worker_s(servers[way]) - before) / load.observations)
    ratios = [on / off for off, on in zip(*rates.values(), strict=True)]
    cells = [name, *(significant(median(rates[way])) for way in WAYS), significant_spread(ratios)]
    cells += [significant(median(found[way])) for found in (p50, cpu) for way in WAYS]
    report.keep_rows(load=name, per_second=rates, p50_ms=p50, worker_us=cpu, cells=cells)


def _steps(report: Report, inference: Inference, y: np.ndarray, rounds: int) -> None:
    """The most that overlap could hide: what is not solving."""
    handler, chunks = SolveHandler(inference), [encode_npy(part) for part in np.split(y[:BATCH], BATCH // CHUNK)]
    spec = SolveSpec(MODEL, inference.manifest(MODEL).version, ("auto",)).to_json()
    spent: dict[str, list[float]] = {"decode": [], "solve": [], "encode": []}
    with one_thread():
        for _ in range(rounds):
            decoded, decode_s = cpu_timed(lambda: [handler.decode(spec, chunk) for chunk in chunks])
            solved, solve_s = cpu_timed(partial(handler.solve, spec, decoded))
            _, encode_s = cpu_timed(partial(handler.encode, spec, solved))
            for name, seconds in zip(spent, (decode_s, solve_s, encode_s), strict=True):
                spent[name].append(seconds)
    middle = {name: median(found) for name, found in spent.items()}
    cells = [f"{significant(1e3 * seconds)} ({seconds / sum(middle.values()):.1%})" for seconds in middle.values()]
    report.keep_rows(steps_s=middle)
    report.table(f"CPU time of a batch of {BATCH} in chunks of {CHUNK}, ms (share)", list(middle), [cells])


def _on_a_device(report: Report, inference: Inference, y: np.ndarray, batches: int, rounds: int) -> None:
    """What overlap gives where the solve leaves the processor idle; no device here, so the solve is a wait."""
    spec = SolveSpec(MODEL, inference.manifest(MODEL).version, ("auto",))
    rows = []
    for device_ms in DEVICE_MS:
        sys.stderr.write(f"bench speed-overlap: batches that wait for {device_ms} ms\n")
        handler = Waiting(inference, spec, y[:BATCH], device_ms / 1e3)
        run = partial(seconds_a_batch, handler, spec.to_json(), y[:CHUNK], batches, BATCH)
        found = [(run(overlap=False), run(overlap=True)) for _ in range(rounds)]
        off, on = (significant(1e3 * median(way)) for way in zip(*found, strict=True))
        rows.append([str(device_ms), off, on, significant_spread([off_s / on_s for off_s, on_s in found])])
        report.keep_rows(device_ms=device_ms, batch_s=found)
    columns = ["the solve waits, ms", "a batch, off, ms", "on", "batches a second, on / off"]
    report.table(f"Batches of {BATCH} whose solve only waits, as for a device; the rest is real", columns, rows)


def _worker_s(server: Server) -> float:
    return sum(seconds for name, seconds in server.cpu_s().items() if name.startswith("worker "))
