"""`deceptron export` for image networks: the U-Net's graph, that of all six steps, and what each was measured at."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.export import Dim

from models.checkpoint import EngineRecord
from models.deblurring import deblur
from models.deceptronnet import DeceptronNet
from models.export import in_its_own_process, limit_own_time, store_graphs, write_onnx
from models.network_engine import NETWORK_GRAPHS, StepsGraph, UNetGraph
from models.network_graphs import INPUTS, AllSteps, steps_inputs
from models.registry import Registry
from models.unet import Corrector
from physics.blur import Blur
from physics.kernels import gaussian

SIDE, SIGMA, NOISE_STD = 512, 1.6, 0.01  # of the picture that the engines are timed on
REPEATS = 5


def export_network(registry: Registry, name: str, version: int | None = None) -> EngineRecord:
    """Writes both graphs beside a checkpoint; the U-Net's is the default where it was quicker than PyTorch."""
    loaded = registry.load_network(name, version)
    network = loaded.network
    if not isinstance(network, DeceptronNet):
        return EngineRecord(default="torch", speedup={}, left_out={"unet": "the paper's form has no graph"})
    directory = registry.directory(name, loaded.manifest.version)
    written, reason = in_its_own_process("models.network_export", directory, NETWORK_GRAPHS)
    times = engine_times(network, written)
    speedup = {f"{graph}/{SIDE}": round(times["torch"] / times[graph], 2) for graph in written}
    left_out = {graph: reason for graph in NETWORK_GRAPHS if graph not in written}
    pays = speedup.get(f"unet/{SIDE}", 0.0) > 1.0
    record = EngineRecord(default="onnxruntime" if pays else "torch", speedup=speedup, left_out=left_out)
    store_graphs(directory, loaded.manifest, written, record)
    return record


def engine_times(
    network: DeceptronNet,
    graphs: Mapping[str, bytes],
    repeats: int = REPEATS,
    clock: Callable[[], float] = time.process_time,
    side: int = SIDE,
) -> dict[str, float]:
    """Seconds of a square picture, start included: with PyTorch alone and with each graph, best of turns.

    Args:
        clock: CPU time of all threads, or the wall's.
    """
    blur, noise_std = Blur(gaussian(SIGMA)), torch.tensor([NOISE_STD])
    y = torch.rand(1, 1, side, side, generator=Generator().manual_seed(0))
    ways: dict[str, Callable[[], Tensor]] = {"torch": partial(_restored, network, None, y, blur)}
    if "unet" in graphs:
        ways["unet"] = partial(_restored, network, UNetGraph(graphs["unet"], network.unet.reach), y, blur)
    if "steps" in graphs:
        ways["steps"] = partial(StepsGraph(graphs["steps"]), network, y, blur, noise_std)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, run in ways.items():
            began = clock()
            run()
            times[name].append(clock() - began)
    return {name: min(own[1:]) for name, own in times.items()}  # the first of each warms up


def _restored(network: DeceptronNet, engine: Corrector | None, y: Tensor, blur: Blur) -> Tensor:
    was, network.engine = network.engine, engine
    try:
        return deblur(network, y, blur, NOISE_STD)
    finally:
        network.engine = was


def write_unet(network: DeceptronNet, out: Path) -> None:
    """The U-Net as ONNX, for every height and width that its stride divides."""
    side = 8 * network.unet.stride
    features = torch.rand(1, network.inputs, side, 2 * side)
    carried = torch.rand(1, network.config.carried, side // 2, side)
    open_sides = {2: Dim.AUTO, 3: Dim.AUTO}
    write_onnx(network.unet, (features, carried, network.bias[0].clone()), (open_sides, open_sides, None), out)


def write_steps(network: DeceptronNet, out: Path) -> None:
    """All steps as ONNX, for pictures and kernels of every size."""
    y, blur = torch.rand(1, 1, 90, 70), Blur(gaussian(SIGMA))
    inputs = steps_inputs(network, y, blur, torch.tensor([NOISE_STD]))
    image, matrix, pair = {2: Dim.AUTO, 3: Dim.AUTO}, {0: Dim.AUTO, 1: Dim.AUTO}, {1: Dim.AUTO, 2: Dim.AUTO}
    write_onnx(AllSteps(network), inputs, (image, image, None, matrix, pair, pair, matrix, matrix), out, INPUTS)


def _main(directory: Path, folder: Path) -> None:
    limit_own_time()
    network = Registry(directory.parent.parent).load_network(directory.parent.name, int(directory.name)).network
    if not isinstance(network, DeceptronNet):
        raise TypeError(f"{directory}: the paper's form has no graph")
    for graph, write in zip(NETWORK_GRAPHS, (write_unet, write_steps), strict=True):
        write(network, folder / f"{graph}.part")
        (folder / f"{graph}.part").rename(folder / f"{graph}.onnx")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
