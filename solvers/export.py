"""`deceptron export`: graphs of g, D-IPG's whole step, the composition error, the adjoint and f, where they pay.

They are traced and written by a process of their own (``python -m solvers.export DIRECTORY FOLDER``). Tracing goes
through make_fx, so that derivatives are graphs like everything else.
"""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoint import EngineRecord
from models.composition import EXACT_UP_TO, Inspection
from models.deceptron import Deceptron, DeceptronConfig
from models.engine import INSPECTION, STEP, Graph, Maps, OnnxMaps, Tensors, one_thread
from models.export import in_its_own_process, limit_own_time, store_graphs, write_onnx
from models.registry import LoadedModel, Registry
from models.rows import FOUR
from solvers.plans import dipg_of, objective_for, plan_for, rules_for, run_plan
from solvers.step import ONE, numbers_of, step_of_tensors

MOST_BYTES = 4 << 20  # a model whose matrices are that large is bound by them, whatever calls them
BATCHES = (1, 256)
BUDGET_CPU_S = 0.5
ALONE = (slice(0, FOUR), slice(1, 1 + FOUR), slice(FOUR, 3 * FOUR))


@one_thread()
def export(registry: Registry, name: str, version: int | None = None) -> EngineRecord:
    """Writes the graphs that pay, and what was measured; graphs from before are replaced."""
    loaded = registry.load(name, version)
    directory = registry.directory(name, loaded.manifest.version)
    graphs: dict[str, bytes] = {}
    speedup: dict[str, float] = {}
    left_out: dict[str, str] = {}
    written, reason = in_its_own_process("solvers.export", directory, graphs_of(loaded))
    for graph in graphs_of(loaded):
        if graph not in written:
            left_out[graph] = reason
            continue
        if against := _reason_against(loaded, graph, written[graph], speedup):
            left_out[graph] = against
        else:
            graphs[graph] = written[graph]
    if sum(map(len, graphs.values())) > MOST_BYTES:
        left_out |= dict.fromkeys(graphs, f"together they hold more than {MOST_BYTES >> 20} MiB")
        graphs = {}
    pays = bool(graphs) and _pays(speedup, "solve", partial(_solves, loaded, graphs))
    record = EngineRecord(default="onnxruntime" if pays else "torch", speedup=speedup, left_out=left_out)
    store_graphs(directory, loaded.manifest, graphs, record)
    return record


def graphs_of(loaded: LoadedModel) -> tuple[str, ...]:
    """In the order in which they are written: those that may never end come last."""
    exact = loaded.problem.n <= EXACT_UP_TO and loaded.deceptron.closed_jacobians and not loaded.deceptron.affine
    return ("g", STEP + loaded.manifest.preset, *exact * (INSPECTION,), "adjoint", "f")


def _reason_against(loaded: LoadedModel, graph: str, data: bytes, speedup: dict[str, float]) -> str:
    """Why not to keep a graph; empty where it is kept. A physics of somebody's own may not trace for any batch size."""
    try:
        if not _pays(speedup, graph, partial(_calls, loaded, graph, data)):
            return "PyTorch is quicker"
        return "" if _rows_are_alone(loaded, graph, data) else "a row's figures depend on where it stands in the batch"
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        return f"its graph does not run: {str(error).splitlines()[0]}"


def _rows_are_alone(loaded: LoadedModel, graph: str, data: bytes) -> bool:
    """Whether rows come out equal to the bit in whole fours of other rows (models/rows.py); steps stop together."""
    if graph.startswith(STEP):
        return True
    run, (_, arguments) = Graph(data, "cpu").all, map_and_arguments(loaded, graph, 3 * FOUR)
    whole, parts = run(*arguments), (run(*(each[rows] for each in arguments)) for rows in ALONE)
    return all(
        torch.equal(out[rows], own)
        for rows, part in zip(ALONE, parts, strict=True)
        for out, own in zip(whole, part, strict=True)
    )


def _pays(speedup: dict[str, float], what: str, pair_of: Callable[[int], tuple[Callable[[], object], ...]]) -> bool:
    """Whether the second of a pair is quicker than the first in the geometric mean over BATCHES; notes the ratios."""
    ratios = [_ratio(*pair_of(batch)) for batch in BATCHES]
    speedup |= {f"{what}/{batch}": round(ratio, 2) for batch, ratio in zip(BATCHES, ratios, strict=True)}
    return bool(torch.tensor(ratios).log().mean() > 0)


def _ratio(first: Callable[[], object], second: Callable[[], object]) -> float:
    """The first one's CPU time over the second one's: timed in turn, and the best of each counts."""
    first(), second()
    times: list[tuple[float, float]] = []
    began = time.process_time()
    while not times or time.process_time() - began < BUDGET_CPU_S:
        times.append((_seconds(first), _seconds(second)))
    return min(t for t, _ in times) / min(t for _, t in times)


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _calls(loaded: LoadedModel, graph: str, data: bytes, batch: int) -> tuple[Callable[[], object], ...]:
    """PyTorch's map and the graph on the same arguments."""
    run, arguments = map_and_arguments(loaded, graph, batch)
    limits = numbers_of(ONE) if graph.startswith(STEP) else ()
    return partial(run, *arguments), partial(Graph(data, "cpu").all, *arguments, *limits)


def _solves(loaded: LoadedModel, graphs: Mapping[str, bytes], batch: int) -> tuple[Callable[[], object], ...]:
    """Whole solves by D-IPG through PyTorch, and through the graphs that pay."""
    problem, preset = loaded.problem, loaded.manifest.preset
    plan, rules = plan_for("dipg", preset, problem.n), rules_for(preset, problem.m, loaded.manifest.refinements)
    y = _observation(loaded, batch)

    def solved_by(maps: Maps) -> Callable[[], object]:
        objective = objective_for(preset, problem, loaded.deceptron, maps=maps)
        return partial(run_plan, plan, objective, y, problem.start, rules)

    return solved_by(loaded.deceptron), solved_by(OnnxMaps(graphs, loaded.deceptron, "cpu"))


def _observation(loaded: LoadedModel, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return loaded.problem.observe(loaded.problem.simulate(batch, generator)[1], generator).float()


def map_and_arguments(loaded: LoadedModel, graph: str, batch: int) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
    """What a graph stands for, and tensors of that batch size to call it with."""
    y = _observation(loaded, batch)
    x = loaded.deceptron.g(y)
    if graph.startswith(STEP):
        return _step(loaded, y)
    if graph == INSPECTION:
        return _inspection(loaded), (x, loaded.deceptron.f(x), y)
    if graph == "adjoint":
        return _adjoint(loaded.deceptron), (x, y)
    return (loaded.deceptron.f, (x,)) if graph == "f" else (loaded.deceptron.g, (y,))


def _step(loaded: LoadedModel, y: Tensor) -> tuple[Tensors, tuple[Tensor, ...]]:
    """From the prior's start, which is in C and needs a step."""
    problem, preset = loaded.problem, loaded.manifest.preset
    objective = objective_for(preset, problem, loaded.deceptron)
    x = torch.tensor(problem.start).repeat(len(y), 1)
    reached = objective.forward(x)
    residual = reached - y
    arguments = (x, reached, residual, objective.misfit(residual), y, objective.inverse(y))
    return step_of_tensors(objective, dipg_of(preset), rules_for(preset, problem.m).line_search), arguments


def _inspection(loaded: LoadedModel) -> Inspection:
    model = loaded.deceptron
    return Inspection(model.jacobian_f, model.jacobian_g, torch.tensor(loaded.problem.scale), model.y_scale)


def _adjoint(deceptron: Deceptron) -> Callable[[Tensor, Tensor], Tensor]:
    if deceptron.derivatives is not None:
        return deceptron.derivatives.adjoint
    return lambda x, v: torch.func.vjp(deceptron.f, x)[1](v)[0]


def traced_batch(config: DeceptronConfig) -> int:
    """A batch size that no other dimension has: tracing takes equal sizes for one, and 1 for a constant."""
    others = {config.n, config.m, *config.hidden, *config.grid}
    return next(size for size in range(2, 2 + len(others) + 1) if size not in others)


def write_graph(loaded: LoadedModel, graph: str, out: Path) -> None:
    """Traces one map and writes it as ONNX with a free batch dimension."""
    from torch.fx.experimental.proxy_tensor import make_fx

    run, arguments = map_and_arguments(loaded, graph, traced_batch(loaded.deceptron.config))
    run(*arguments)  # constants are cast at the first call, and kept

    def one(u: Tensor) -> object:
        return run(u)

    def two(u: Tensor, v: Tensor) -> object:
        return run(u, v)

    named: dict[int, Callable[..., Any]] = {1: one, 2: two}  # tracing wants arguments with names
    traced = make_fx(named.get(len(arguments), run), tracing_mode="symbolic", _allow_non_fake_inputs=True)
    batch = torch.export.Dim("batch")
    write_onnx(traced(*arguments), arguments, tuple({0: batch} for _ in arguments), out)
    if graph.startswith(STEP):
        from solvers.looped import looped

        out.write_bytes(looped(out.read_bytes()))


def _main(directory: Path, folder: Path) -> None:
    limit_own_time()
    loaded = Registry(directory.parent.parent).load(directory.parent.name, int(directory.name))
    for graph in graphs_of(loaded):
        write_graph(loaded, graph, folder / f"{graph}.part")
        (folder / f"{graph}.part").rename(folder / f"{graph}.onnx")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
