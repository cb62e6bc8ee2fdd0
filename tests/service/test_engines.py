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

REGISTRY = Registry(CHECKPOINTS)
WITH_GRAPHS = [name for name in REGISTRY.names() if REGISTRY.manifest(name).engine is not None]
ITEMS, FEWER = 1000, 64  # fewer where the diagnostics alone take ten milliseconds an item


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WITH_GRAPHS)
def test_both_engines_give_the_same_answers(name: str) -> None:
    """x to 1e-5 of its size, same status and same verdict, on held-out items."""
    loaded = REGISTRY.load(name)
    problem, manifest = loaded.problem, loaded.manifest
    generator = torch.Generator().manual_seed(0)
    count = ITEMS if problem.n <= FEWER else FEWER
    y = problem.observe(problem.simulate(count, generator)[1], generator).numpy()
    spec = SolveSpec(name, manifest.version, ("auto",), manifest.preset)
    one, other = (Inference(CHECKPOINTS, "cpu", engine).solve(spec, y)[0] for engine in ("torch", "onnxruntime"))
    scale = np.abs(one.x).max(axis=1, keepdims=True)
    assert (np.abs(one.x - other.x) / scale).max() <= 1e-5
    for of in ("status", "solved_by"):
        assert [item[of] for item in one.items] == [item[of] for item in other.items]
    verdicts = [[item["diagnostics"]["verdict"] for item in answer.items] for answer in (one, other)]
    assert verdicts[0] == verdicts[1]


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
