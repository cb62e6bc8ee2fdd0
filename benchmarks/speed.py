"""``deceptron bench speed``: the engine against its floor, the service against the engine, both against peers."""

import sys
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.author import NotImportable, agreement, author_package
from benchmarks.measure import held_out_items
from benchmarks.report import Report, significant
from benchmarks.setup import Setup
from benchmarks.speed_engine import BATCHES, Step, best_of, step
from benchmarks.speed_service import CLIENTS, Load, closed_loop, many, peer, predicted, service, single
from service.inference import Inference, SolveSpec

MODEL = "heat1d"
BULK = 4096
DATA_SEED = 20261125
AUTHOR_ITEMS = 20


def run(setup: Setup) -> Report:
    """Engine, author's package, service, peers: every ratio within this one run."""
    report = Report("speed", setup.command("speed"))
    torch.set_num_threads(1)
    report.text(
        "One thread a process, on whatever else the machine does: only ratios within one run mean anything. A step is "
        "one iteration of the loop from the one-shot answer, a solve of one less a solve of none, medians; the bare "
        "products are the matrix products of f, its transpose and g, with nothing between them, best of repeats."
    )
    names = [MODEL] if setup.quick else setup.registry.names()
    steps = [step(setup.registry.load(name), batch, setup.budget_s) for name in names for batch in _batches(setup)]
    _engine_table(report, steps)
    _author(report, setup, steps[0])
    _service(report, setup)
    return report


def _batches(setup: Setup) -> tuple[int, ...]:
    return BATCHES[:2] if setup.quick else BATCHES[:3]


def _engine_table(report: Report, steps: list[Step]) -> None:
    rows = []
    for one in steps:
        best = min(one.dipg.values())
        cells = [one.model, str(one.batch)]
        cells += [_us(one.dipg.get(engine), one.batch) for engine in ("torch", "onnxruntime")]
        cells += [_us(one.lm, one.batch), _us(one.products, one.batch)]
        rows.append([*cells, "" if one.products is None else significant(best / one.products)])
        report.keep_rows(model=one.model, batch=one.batch, lm=one.lm, products=one.products, **one.dipg)
    columns = ["model", "batch", "D-IPG, torch", "D-IPG, ONNX Runtime", "LM, torch", "bare products", "D-IPG / bare"]
    report.table("One iteration, microseconds per item", columns, rows)


def _us(seconds: float | None, batch: int) -> str:
    return "" if seconds is None else significant(1e6 * seconds / batch)


def _author(report: Report, setup: Setup, alone: Step) -> None:
    try:
        package = author_package()
    except NotImportable as error:
        report.text(f"The author's package was not measured: {error}.")
        return
    loaded = setup.registry.load("heat1d-paper")
    found = agreement(package, loaded, "dipg", held_out_items(loaded.problem, AUTHOR_ITEMS, DATA_SEED, 0))
    per_iteration = found.their_seconds / max(1.0, found.their_iterations.double().mean().item())
    ours = min(alone.dipg.values())
    report.text(
        f"The author's package takes {significant(1e3 * per_iteration)} ms per D-IPG iteration (heat1d-paper, one "
        f"item, float64): {significant(per_iteration / ours)} times our step on {MODEL} at batch 1."
    )


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
        sys.stderr.write(f"bench speed: {name}: {error}\n")
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
