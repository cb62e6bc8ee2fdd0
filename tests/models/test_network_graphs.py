"""The image network in ONNX Runtime: the U-Net in tiles, all six steps in one call, and PyTorch's answers from both."""

from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from models import network_export
from models.checkpoint import EngineRecord
from models.deceptronnet import DeceptronNet, NetworkConfig, network_of
from models.engine import EngineUnavailable
from models.network_engine import StepsGraph, UNetGraph
from models.network_graphs import AllSteps, fourier_matrices, steps_inputs
from models.registry import LoadedNetwork, Registry
from physics.blur import Blur
from physics.kernels import disk, gaussian, motion
from service.engines import use_graph
from service.errors import DeviceUnavailable
from service.settings import CHECKPOINTS
from tests.models.stored import store_network

NOISE = torch.tensor([0.02])


@pytest.fixture
def shipped() -> LoadedNetwork:
    return Registry(CHECKPOINTS).load_network("deblur")


def observed(height: int, width: int) -> Tensor:
    return torch.rand(1, 1, height, width, generator=Generator().manual_seed(height))


def by_torch(network: DeceptronNet, y: Tensor, blur: Blur) -> Tensor:
    with torch.no_grad():
        return network(y, blur, NOISE)[-1]


@pytest.mark.parametrize("grid", [(6, 8), (7, 9), (12, 5)])
def test_matrices_transform_and_transform_back(grid: tuple[int, int]) -> None:
    x, (down, across, back) = torch.rand(grid), fourier_matrices(*grid)
    row, waves = x @ across, grid[1] // 2 + 1
    spectrum = (down[0] - 1j * down[1]) @ torch.complex(row[:, :waves], row[:, waves:])
    torch.testing.assert_close(spectrum, torch.fft.rfft2(x), rtol=0, atol=1e-5)
    half = torch.fft.ifft(spectrum, dim=0) * grid[0]
    torch.testing.assert_close(torch.cat([half.real, half.imag], 1) @ back, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", [gaussian(1.6), motion(7, 20), torch.ones(1, 1)])
@pytest.mark.parametrize("size", [(17, 30), (90, 70)])
def test_all_steps_on_plain_tensors_are_the_network(size: tuple[int, int], kernel: Tensor) -> None:
    network = network_of(NetworkConfig("shipped", 3, (8, 12), (0, 1), carried=4, start="variation"))
    assert isinstance(network, DeceptronNet)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    y, blur = observed(*size), Blur(kernel)
    with torch.no_grad():
        found = AllSteps(network)(*steps_inputs(network, y, blur, NOISE))
    expected = by_torch(network, y, blur)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("size", [(33, 50), (64, 600)])
def test_the_shipped_graphs_give_pytorchs_answer(shipped: LoadedNetwork, size: tuple[int, int]) -> None:
    """To 1e-5 of its size, also where the U-Net goes tile by tile and the kernel is wide."""
    network = shipped.network
    assert isinstance(network, DeceptronNet)
    y, blur = observed(*size), Blur(disk(4.0))
    expected = by_torch(network, y, blur)
    whole = StepsGraph(shipped.graphs["steps"])(network, y, blur, NOISE)
    network.engine = UNetGraph(shipped.graphs["unet"], network.unet.reach)
    for found in (whole, by_torch(network, y, blur)):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_graph_says_nothing_of_where_it_was_made(shipped: LoadedNetwork) -> None:
    for graph in shipped.graphs.values():
        assert b"stack_trace" not in graph
        assert b".py" not in graph


def test_the_engine_asked_for_runs(shipped: LoadedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    network = shipped.network
    assert isinstance(network, DeceptronNet)
    assert use_graph(shipped, "torch", "cpu") == use_graph(shipped, "auto", "cuda") == "torch"
    assert network.engine is None
    assert shipped.manifest.engine is not None
    assert use_graph(shipped, "auto", "cpu") == shipped.manifest.engine.default
    assert use_graph(shipped, "onnxruntime", "cpu") == "onnxruntime"
    assert network.engine is not None

    def missing(*_: object) -> None:
        raise EngineUnavailable("not installed")

    monkeypatch.setattr("models.network_engine.open_session", missing)
    with pytest.raises(DeviceUnavailable, match="not installed"):
        use_graph(shipped, "onnxruntime", "cpu")


def test_export_keeps_what_was_measured(
    tmp_path: Path, shipped: LoadedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_network(tmp_path, name="sharpen")
    monkeypatch.setattr(network_export, "in_its_own_process", lambda *_: ({"unet": b"a graph"}, "no export"))
    monkeypatch.setattr(network_export, "engine_times", lambda *_: {"torch": 3.0, "unet": 2.0})
    record = network_export.export_network(Registry(tmp_path), "sharpen")
    assert record == EngineRecord(default="onnxruntime", speedup={"unet/512": 1.5}, left_out={"steps": "no export"})
    loaded = Registry(tmp_path).load_network("sharpen")
    assert loaded.graphs == {"unet": b"a graph"}
    assert loaded.manifest.engine == record


def test_engines_are_timed_in_turn(shipped: LoadedNetwork) -> None:
    assert isinstance(shipped.network, DeceptronNet)
    times = network_export.engine_times(shipped.network, shipped.graphs, repeats=1, side=32)
    assert set(times) == {"torch", "unet", "steps"}
    assert min(times.values()) > 0
    assert shipped.network.engine is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # PyTorch's exporter uses what PyTorch deprecates
def test_a_unet_is_written_and_runs(tmp_path: Path) -> None:
    network = network_of(NetworkConfig("shipped", 1, (4, 6), (0, 1), carried=2))
    assert isinstance(network, DeceptronNet)
    network_export.write_unet(network.requires_grad_(False).eval(), tmp_path / "unet.onnx")
    graph = UNetGraph((tmp_path / "unet.onnx").read_bytes(), network.unet.reach)
    features, carried, bias = torch.rand(1, 6, 20, 12), torch.rand(1, 2, 10, 6), torch.rand(4)
    for found, expected in zip(graph(features, carried, bias), network.unet(features, carried, bias), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
