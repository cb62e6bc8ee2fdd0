"""What every export has in common: graphs are traced by a process of their own, and kept beside their checkpoint.

A failed export spoils later ones in its process, and one of a long simulation may never end, so that its time on the
CPU is limited.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoint import GRAPH, EngineRecord, Manifest, NetworkManifest, digest, write_atomically, write_manifest

LONGEST_CPU_S = 120


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


def write_onnx(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    dynamic_shapes: tuple[Any, ...],
    out: Path,
    names: Sequence[str] | None = None,
) -> None:
    """The module as ONNX, of its arithmetic alone."""
    with torch.no_grad():
        program = torch.onnx.export(
            module, inputs, dynamo=True, dynamic_shapes=dynamic_shapes, input_names=names, verbose=False
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    graph = program.model.graph
    made = (value for node in graph for value in node.outputs)
    for each in (graph, *graph, *graph.inputs, *graph.initializers.values(), *made):
        each.metadata_props.clear()  # where in whose sources it came from: may be larger than all the rest
    program.save(str(out), external_data=False)


def limit_own_time() -> None:
    """Ends this process once it has taken LONGEST_CPU_S."""
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S))
