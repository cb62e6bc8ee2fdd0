"""One loop, two engines: the same answers, and a word on which one gave them."""

from dataclasses import replace
from importlib import util

import numpy as np
import pytest
import torch

from models.registry import Registry
from service.engines import maps_of, spoken
from service.errors import DeviceUnavailable
from service.inference import Inference, SolveSpec
from service.settings import CHECKPOINTS
from solvers.export import graphs_of

REGISTRY = Registry(CHECKPOINTS)
WITH_GRAPHS = [name for name in REGISTRY.names() if REGISTRY.load(name).graphs]
ITEMS = 1000


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WITH_GRAPHS)
def test_both_engines_give_the_same_answers(name: str) -> None:
    """x to 1e-5 of its size, same status and same verdict, on held-out items.

    A row may part by more only where the search met a tie: one engine's rounding found a step just enough, the
    other's just not, and halved it once more. Both answers then fit alike.
    """
    loaded = REGISTRY.load(name)
    problem, manifest = loaded.problem, loaded.manifest
    generator = torch.Generator().manual_seed(0)
    y = problem.observe(problem.simulate(ITEMS, generator)[1], generator).numpy()
    spec = SolveSpec(name, manifest.version, ("auto",), manifest.preset)
    one, other = (Inference(CHECKPOINTS, "cpu", engine).solve(spec, y)[0] for engine in ("torch", "onnxruntime"))
    for of in ("status", "solved_by"):
        assert [item[of] for item in one.items] == [item[of] for item in other.items]
    verdicts = [[item["diagnostics"]["verdict"] for item in answer.items] for answer in (one, other)]
    assert verdicts[0] == verdicts[1]
    apart = np.abs(one.x - other.x).max(1) > 1e-5 * np.abs(one.x).max(1)
    assert apart.sum() <= ITEMS // 500
    for row in apart.nonzero()[0]:
        assert one.items[row]["cost"] != other.items[row]["cost"]
        assert np.abs(one.x[row] - other.x[row]).max() <= 1e-3 * np.abs(one.x[row]).max()
        rms, others = (answer.items[row]["residual_rms"] for answer in (one, other))
        assert abs(rms - others) <= 1e-4 * rms


def test_every_checkpoint_was_measured() -> None:
    """It has graphs, or says of each of them why not."""
    for name in REGISTRY.names():
        engine = REGISTRY.manifest(name).engine
        assert engine is not None, name
        graphs = set(REGISTRY.load(name).graphs)
        expected = set(graphs_of(REGISTRY.load(name)))
        assert graphs | set(engine.left_out) == expected, name
        assert (engine.default == "onnxruntime") <= bool(graphs), name


def test_the_default_is_what_measured_quicker() -> None:
    loaded = REGISTRY.load("heat1d")
    assert loaded.manifest.engine is not None
    slower = replace(loaded, manifest=loaded.manifest.model_copy(
        update={"engine": loaded.manifest.engine.model_copy(update={"default": "torch"})}
    ))  # fmt: skip
    without = replace(loaded, graphs={})
    found = [maps_of(*case, "cpu").engine for case in ((loaded, "auto"), (slower, "auto"), (slower, "onnxruntime"))]
    assert found == ["onnxruntime", "torch", "onnxruntime"]
    assert [maps_of(model, "torch", "cpu").engine for model in (loaded, slower)] == ["torch", "torch"]
    assert maps_of(without, "onnxruntime", "cpu").engine == "torch"


def test_a_missing_runtime_is_an_error_only_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.engine.find_spec", lambda name: None if name == "onnxruntime" else util.find_spec(name))
    assert maps_of(REGISTRY.load("heat1d"), "auto", "cpu").engine == "torch"
    with pytest.raises(DeviceUnavailable, match="not installed"):
        Inference(CHECKPOINTS, "cpu", "onnxruntime")
    with pytest.raises(DeviceUnavailable, match="none of auto"):
        Inference(CHECKPOINTS, "cpu", "tensorrt")


def test_what_really_runs_is_said() -> None:
    inference = Inference(CHECKPOINTS, "cpu")
    assert inference.engine == "torch"
    inference.calibration("heat1d")
    assert inference.engine == inference.engine_of("heat1d", 1) == "onnxruntime"
    assert spoken(["torch", "onnxruntime", "torch"]) == "onnxruntime+torch"
