"""``deceptron bench speed-service``: a real service on loopback, against the engine in process and against peers."""

import sys
from collections.abc import Callable

import numpy as np

from benchmarks.measure import held_out_items
from benchmarks.report import Report, significant
from benchmarks.setup import Setup, one_thread
from benchmarks.speed_engine import best_of
from benchmarks.speed_service import CLIENTS, Load, closed_loop, many, peer, predicted, service, single
from service.inference import Inference, SolveSpec

MODEL = "heat1d"
BULK = 4096
DATA_SEED = 20261125


@one_thread()
def run(setup: Setup) -> Report:
    """Service and peers: every ratio within this one run."""
    report = Report("speed-service", setup.command("speed-service"))
    report.text("One thread a process, on whatever else the machine does: only ratios within one run mean anything.")
    _service(report, setup)
    return report


def _service(report: Report, setup: Setup) -> None:
    budget_s = 1.0 if setup.quick else 10.0
    loaded = setup.registry.load(MODEL)
    y = held_out_items(loaded.problem, BULK, DATA_SEED, 0).y.float().numpy()
    inference, spec = Inference(setup.registry.root, "cpu"), SolveSpec(MODEL, 1, ("auto",))
    bare_s = best_of(lambda: inference.solve(spec, y[:1]), 1.0)
    bulk = y[:256] if setup.quick else y
    engine = len(bulk) / best_of(lambda: inference.solve(spec, bulk), budget_s)
    loads: dict[str, Load] = {}
    with service(1) as url:
        loads["npy bodies, 1 worker"] = closed_loop(many(url, MODEL, bulk), 2, budget_s)
        loads["single JSON, 1 client"] = closed_loop(single(url, MODEL, y[0]), 1, budget_s)
        loads[f"single JSON, {CLIENTS} clients"] = closed_loop(single(url, MODEL, y[0]), CLIENTS, budget_s)
    with service(2) as url:
        loads["npy bodies, 2 workers"] = closed_loop(many(url, MODEL, bulk), 4, budget_s)
    for name in ("litserve", "fastapi"):
        _peer(report, name, loads, y[0], budget_s)
    _load_table(report, loads)
    _verdicts(report, loads, engine, bare_s, len(bulk))


def _peer(report: Report, name: str, loads: dict[str, Load], row: np.ndarray, budget_s: float) -> None:
    try:
        with peer(name, MODEL) as url:
            loads[f"{name}, 1 client"] = closed_loop(predicted(url, row), 1, budget_s)
            loads[f"{name}, {CLIENTS} clients"] = closed_loop(predicted(url, row), CLIENTS, budget_s)
    except TimeoutError as error:
        sys.stderr.write(f"bench speed-service: {name}: {error}\n")
        report.text(f"{name} was not measured: {error}.")


def _load_table(report: Report, loads: dict[str, Load]) -> None:
    def ms(load: Load, percent: int) -> str:
        return significant(1e3 * load.percentile(percent))

    rows = [
        [name, significant(load.per_second), *(ms(load, percent) for percent in (50, 95, 99))]
        for name, load in loads.items()
    ]
    for name, load in loads.items():
        report.keep_rows(load=name, per_second=load.per_second, waited_s=load.waited_s)
    columns = ["load", "observations per second", "p50, ms", "p95, ms", "p99, ms"]
    report.table(f"The service on loopback, {MODEL}, full diagnostics", columns, rows)


def _verdicts(report: Report, loads: dict[str, Load], engine: float, bare_s: float, bulk: int) -> None:
    crowd = f"single JSON, {CLIENTS} clients"
    says: list[tuple[str, Callable[[], float]]] = [
        (f"the service's share of the engine's throughput in process ({significant(engine)} per second, npy bodies "
         f"of {bulk}; goal .6)", lambda: loads["npy bodies, 1 worker"].per_second / engine),
        ("two workers over one (goal 1.6)",
         lambda: loads["npy bodies, 2 workers"].per_second / loads["npy bodies, 1 worker"].per_second),
        (f"LitServe's throughput into ours, {CLIENTS} clients (goal 1)",
         lambda: loads[crowd].per_second / loads[f"litserve, {CLIENTS} clients"].per_second),
        (f"plain FastAPI's throughput into ours, {CLIENTS} clients",
         lambda: loads[crowd].per_second / loads[f"fastapi, {CLIENTS} clients"].per_second),
        (f"p50 of one client over the bare solve ({significant(1e3 * bare_s)} ms), ms (goal 5)",
         lambda: 1e3 * (loads["single JSON, 1 client"].percentile(50) - bare_s)),
    ]  # fmt: skip
    rows = []
    for what, figure in says:
        try:
            rows.append([what, significant(figure())])
        except KeyError as missing:
            rows.append([what, f"not measured ({missing})"])
    report.table("What that comes to", ["ratio", "measured"], rows)
