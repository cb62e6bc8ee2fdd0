"""`deceptron export`: graphs of f, g and the adjoint beside a checkpoint, those that are quicker than PyTorch.

They are traced and written by a process of its own (``python -m models.export DIRECTORY FOLDER``): a failed export
spoils later ones, and one of a long simulation may never end, so that its time on the CPU is limited. Tracing goes
through make_fx, so that derivatives are graphs like everything else.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoint import GRAPH, EngineRecord, Manifest, NetworkManifest, digest, write_atomically, write_manifest
from models.deceptron import Deceptron
from models.engine import GRAPHS, Graph
from models.registry import LoadedModel, Registry

LONGEST_CPU_S = 120
BATCHES = (1, 256)
REPEATS = 30
TRACED_BATCH = 3  # not 1: that would be taken for a constant


def export(registry: Registry, name: str, version: int | None = None) -> EngineRecord:
    """Writes the graphs that pay, and what was measured; graphs from before are replaced."""
    loaded = registry.load(name, version)
    directory = registry.directory(name, loaded.manifest.version)
    graphs: dict[str, bytes] = {}
    speedup: dict[str, float] = {}
    left_out: dict[str, str] = {}
    written, reason = in_its_own_process("models.export", directory, GRAPHS)
    for graph in GRAPHS:
        if graph not in written:
            left_out[graph] = reason
            continue
        ratios = _ratios(loaded, graph, written[graph])
        speedup |= {f"{graph}/{batch}": round(ratio, 2) for batch, ratio in zip(BATCHES, ratios, strict=True)}
        if torch.tensor(ratios).log().mean() > 0:
            graphs[graph] = written[graph]
        else:
            left_out[graph] = "PyTorch is quicker"
    record = EngineRecord(default="onnxruntime" if graphs else "torch", speedup=speedup, left_out=left_out)
    store_graphs(directory, loaded.manifest, graphs, record)
    return record


def store_graphs(
    directory: Path, manifest: Manifest | NetworkManifest, graphs: Mapping[str, bytes], engine: EngineRecord
) -> None:
    """Puts graphs (name -> ONNX) beside a checkpoint in the place of those it had; nothing else of it changes."""
    kept = {name: record for name, record in manifest.files.items() if not name.endswith(GRAPH)}
    for name in set(manifest.files) - set(kept):
        (directory / name).unlink(missing_ok=True)
    for name, data in graphs.items():
        write_atomically(directory / (name + GRAPH), data)
    files = kept | {name + GRAPH: digest(data) for name, data in graphs.items()}
    write_manifest(directory, manifest.model_copy(update={"files": files, "engine": engine}))


def in_its_own_process(module: str, directory: Path, graphs: Sequence[str]) -> tuple[dict[str, bytes], str]:
    """The graphs that ``python -m MODULE DIRECTORY FOLDER`` could write, and why there are no more."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", module, str(directory), scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        said = done.stderr.strip().splitlines()
        reason = f"not within {LONGEST_CPU_S} s" if done.returncode < 0 else (said[-1][:200] if said else "no export")
        files = {graph: Path(scratch) / f"{graph}.onnx" for graph in graphs}
        return {graph: file.read_bytes() for graph, file in files.items() if file.is_file()}, reason


def _ratios(loaded: LoadedModel, graph: str, data: bytes) -> list[float]:
    """PyTorch's time over the graph's, for each of BATCHES; the two are timed in turn, and the best of each counts."""
    config = loaded.deceptron.config
    session = Graph(data, "cpu", config.m if graph == "f" else config.n)
    own = _map_of(loaded.deceptron, graph)
    ratios = []
    for batch in BATCHES:
        arguments = _arguments(loaded, graph, batch)
        session(*arguments)
        times = [(_seconds(own, arguments), _seconds(session, arguments)) for _ in range(REPEATS)]
        ratios.append(min(t for t, _ in times) / min(t for _, t in times))
    return ratios


def _seconds(run: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> float:
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def _map_of(deceptron: Deceptron, graph: str) -> Callable[..., Tensor]:
    if graph != "adjoint":
        return deceptron.f if graph == "f" else deceptron.g
    if deceptron.derivatives is not None:
        return deceptron.derivatives.adjoint
    return lambda x, v: torch.func.vjp(deceptron.f, x)[1](v)[0]


def _arguments(loaded: LoadedModel, graph: str, batch: int) -> tuple[Tensor, ...]:
    x, y = (each.float() for each in loaded.problem.simulate(batch, torch.Generator().manual_seed(0)))
    return {"f": (x,), "g": (y,), "adjoint": (x, torch.ones_like(y))}[graph]


def write_graph(loaded: LoadedModel, graph: str, out: Path) -> None:
    """Traces one map and writes it as ONNX with a free batch dimension."""
    from torch.fx.experimental.proxy_tensor import make_fx

    run, arguments = _map_of(loaded.deceptron, graph), _arguments(loaded, graph, TRACED_BATCH)
    run(*arguments)  # constants are cast at the first call, and kept

    def one(u: Tensor) -> Tensor:
        return run(u)

    def two(u: Tensor, v: Tensor) -> Tensor:
        return run(u, v)

    traced = make_fx(one if len(arguments) == 1 else two, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        traced(*arguments), arguments, dynamo=True, dynamic_shapes=tuple({0: batch} for _ in arguments), verbose=False
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    program.save(str(out), external_data=False)


def limit_own_time() -> None:
    """Ends this process once it has taken LONGEST_CPU_S."""
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S))


def _main(directory: Path, folder: Path) -> None:
    limit_own_time()
    loaded = Registry(directory.parent.parent).load(directory.parent.name, int(directory.name))
    for graph in GRAPHS:
        write_graph(loaded, graph, folder / f"{graph}.part")
        (folder / f"{graph}.part").rename(folder / f"{graph}.onnx")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
