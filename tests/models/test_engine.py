"""ONNX Runtime in PyTorch's place: the same maps at every batch size, kept with the checkpoint and under its digest."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.deceptron import DeceptronConfig
from models.engine import INSPECTION, EngineUnavailable, Graph, OnnxMaps, require_provider
from models.registry import LoadedModel, Registry
from service.settings import CHECKPOINTS
from solvers import export as export_module
from solvers.export import map_and_arguments
from solvers.plans import objective_for
from tests.models.stored import forge, store

SHIPPED = Registry(CHECKPOINTS)
WITH_GRAPHS = [name for name in SHIPPED.names() if SHIPPED.load(name).graphs]
BATCHES = (1, 2, 7, 1024)


def drawn(loaded: LoadedModel, batch: int) -> tuple[Tensor, Tensor]:
    x, y = loaded.problem.simulate(batch, torch.Generator().manual_seed(batch))
    return x.float(), y.float()


def test_there_are_graphs_to_test() -> None:
    assert "heat1d" in WITH_GRAPHS


def test_graphs_hold_their_arithmetic_alone() -> None:
    """And not where in whose sources each node came from."""
    for path in CHECKPOINTS.glob("*/*/*.onnx"):
        assert b"pkg.torch.onnx" not in path.read_bytes(), path


@pytest.mark.parametrize("name", WITH_GRAPHS)
def test_graphs_are_the_maps_they_stand_for(name: str) -> None:
    loaded = SHIPPED.load(name)
    maps = OnnxMaps(loaded.graphs, loaded.deceptron, "cpu")
    own = objective_for("product", loaded.problem, loaded.deceptron)
    other = objective_for("product", loaded.problem, loaded.deceptron, maps=maps)
    for batch in BATCHES:
        x, y = drawn(loaded, min(batch, 64 if loaded.problem.n > 64 else batch))
        residual = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        for found, expected in (
            (other.forward(x), own.forward(x)),
            (other.inverse(y), own.inverse(y)),
            (other.gradient(x, residual), own.gradient(x, residual)),
        ):
            assert found.shape == expected.shape
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", [name for name in WITH_GRAPHS if INSPECTION in SHIPPED.load(name).graphs])
@pytest.mark.parametrize("batch", [4, 256])
def test_the_graph_of_the_composition_error_is_the_inspection(name: str, batch: int) -> None:
    loaded = SHIPPED.load(name)
    run, arguments = map_and_arguments(loaded, INSPECTION, batch)
    found = Graph(loaded.graphs[INSPECTION], "cpu").all(*arguments)
    for expected, other in zip(run(*arguments), found, strict=True):
        assert other.shape == expected.shape
        assert (other - expected).abs().max() <= 2e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_export_writes_what_pays_and_says_what_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real export of a small model, with clocks that let the graph of g win and that of f lose."""
    directory = store(tmp_path)
    before = Registry(tmp_path).load("small")
    monkeypatch.setattr(export_module, "_pays", lambda speedup, what, pair_of: what in ("g", "solve"))
    record = export_module.export(Registry(tmp_path), "small")
    after = Registry(tmp_path).load("small")
    assert record.default == "onnxruntime"
    assert record.left_out == dict.fromkeys(("step-product", INSPECTION, "f", "adjoint"), "PyTorch is quicker")
    assert set(after.graphs) == {"g"}
    assert after.manifest.engine == record
    assert after.manifest.metrics == before.manifest.metrics
    _, y = drawn(after, 7)
    torch.testing.assert_close(Graph(after.graphs["g"], "cpu")(y), before.deceptron.g(y))

    forge_only_the_bytes = (directory / "g.onnx").read_bytes() + b"\0"
    (directory / "g.onnx").write_bytes(forge_only_the_bytes)
    with pytest.raises(CheckpointError, match="does not match"):
        Registry(tmp_path).load("small")
    forge(directory, "g.onnx", b"no graph")
    with pytest.raises(EngineUnavailable, match="cannot be used"):
        OnnxMaps(Registry(tmp_path).load("small").graphs, before.deceptron, "cpu")


def test_a_model_that_cannot_be_exported_stays_with_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path)
    monkeypatch.setattr(export_module, "in_its_own_process", lambda *_: ({}, "no export"))
    record = export_module.export(Registry(tmp_path), "small")
    assert record.default == "torch"
    assert set(record.left_out) == set(export_module.graphs_of(Registry(tmp_path).load("small")))
    assert Registry(tmp_path).load("small").graphs == {}


def test_a_graph_that_does_not_run_is_left_out_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path)
    foreign = SHIPPED.load("oscillator").graphs["adjoint"]
    monkeypatch.setattr(export_module, "in_its_own_process", lambda *_: ({"g": foreign}, "no export"))
    record = export_module.export(Registry(tmp_path), "small")
    assert record.left_out["g"].startswith("its graph does not run: ")
    assert record.default == "torch"


def test_tracing_takes_a_batch_size_that_is_no_other_size() -> None:
    for name in SHIPPED.names():
        config = SHIPPED.load(name).deceptron.config
        assert export_module.traced_batch(config) not in {1, config.n, config.m, *config.hidden, *config.grid}
    assert export_module.traced_batch(DeceptronConfig(2, 3, hidden=(4,))) == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_build_without_cuda_says_so() -> None:
    with pytest.raises(EngineUnavailable, match="CUDAExecutionProvider"):
        require_provider("cuda")


@pytest.mark.gpu
def test_graphs_on_a_gpu_take_and_leave_tensors_there() -> None:
    loaded = SHIPPED.load("heat1d")
    _, y = drawn(loaded, 7)
    expected = loaded.deceptron.g(y)
    found = Graph(loaded.graphs["g"], "cuda")(y.cuda())
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
