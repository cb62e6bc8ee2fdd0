"""With buckets on, an engine is given batches of a few sizes only, has seen each before, and answers the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from torch import Tensor

from models.engine import Graph
from models.rows import FOURS, Sizes
from service import inference as inference_module
from service.inference import Inference, SolveSpec
from service.memory import RowsAtOnce
from service.settings import CHECKPOINTS

MOST = 32
BY_GRAPH = ("heat1d", "heat1d_nonlinear", "oscillator", "oscillator-paper")
Seen = set[tuple[str, int]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Which graph was given how many rows."""
    found, run = Seen(), Graph.all

    def noted(graph: Graph, *tensors: Tensor) -> list[Tensor]:
        found.add((f"{id(graph)}", len(tensors[0])))
        return run(graph, *tensors)

    monkeypatch.setattr(Graph, "all", noted)
    return found


def folder_of(folder: Path, models: tuple[str, ...]) -> Path:
    """With those models only."""
    for name in models:
        (folder / name).symlink_to(CHECKPOINTS / name)
    return folder


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return folder_of(tmp_path, BY_GRAPH)


def observations(inference: Inference, model: str, count: int) -> np.ndarray:
    """In range, and half of them more or less far out of it, so that rows end and search at different times.

    Every fourth has no answer.
    """
    problem = inference.loaded(model).problem
    generator = torch.Generator().manual_seed(5)
    truth = problem.sample(count, generator).double()
    noise = torch.randn(count, problem.m, generator=generator, dtype=torch.float64)
    noise[::2] *= torch.linspace(2.0, 12.0, len(noise[::2]), dtype=torch.float64)[:, None]
    y = (problem.forward(truth) + problem.noise_std * noise).numpy().astype(np.float32)
    y[3::4] = np.inf
    return y


def specs(inference: Inference) -> Iterator[SolveSpec]:
    for manifest in inference.manifests():
        yield SolveSpec(manifest.name, manifest.version, ("auto",), manifest.preset)


def test_after_warming_no_engine_meets_a_new_size(few: Path, seen: Seen) -> None:
    inference = Inference(few, "cpu", "onnxruntime", MOST)
    inference.warm()
    warmed, sizes = set(seen), {4, 8, 16, 32}
    graphs = {graph for graph, _ in warmed}
    assert len(graphs) > 4 * 2
    assert warmed == {(graph, size) for graph in graphs for size in sizes}
    for spec in specs(inference):
        y = observations(inference, spec.model, 70)
        for count in (1, 2, 5, 9, 31, 33, 70):
            inference.solve(spec, y[:count])
        inference.solve(replace(spec, methods=("gd", "lm")), y)
    assert seen == warmed


def test_without_buckets_sizes_are_as_they_come(few: Path, seen: Seen) -> None:
    inference = Inference(few, "cpu", "onnxruntime")
    inference.warm()
    spec = next(specs(inference))
    inference.solve(spec, observations(inference, spec.model, 45))
    assert {size for _, size in seen} >= {4, 48}


@pytest.mark.parametrize(("engine", "models"), [("torch", ("heat3d", *BY_GRAPH)), ("onnxruntime", BY_GRAPH)])
def test_answers_are_the_same_to_the_bit(tmp_path: Path, engine: str, models: tuple[str, ...]) -> None:
    folder = folder_of(tmp_path, models)
    plain, bucketed = Inference(folder, "cpu", engine), Inference(folder, "cpu", engine, MOST)
    for spec in specs(plain):
        y = observations(plain, spec.model, 77)
        for rows in (slice(0, 1), slice(2, 7), slice(0, 77)):
            [one], [other] = plain.solve(spec, y[rows]), bucketed.solve(spec, y[rows])
            np.testing.assert_array_equal(one.x, other.x)
            assert repr(one.items) == repr(other.items)  # where NaN equals NaN


def test_memory_bounds_the_largest_bucket(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowsAtOnce, "that_fit", lambda n, m, device: RowsAtOnce(37))
    inference = Inference(few, "cpu", "auto", MOST)
    ready = inference._load("heat1d", 1)
    assert (ready.sizes.buckets, ready.rows.limit) == ((4, 8, 16, 32), 32)


def test_warming_that_takes_long_is_told(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_module, "TELL_EVERY_S", 0.0)
    with capture_logs() as logs:
        Inference(few, "cpu", "torch", 8).warm()
    told = [line for line in logs if line["event"] == "warming"]
    assert [line["done"] for line in told] == list(range(2 * len(BY_GRAPH)))
    assert {(line["model"], line["rows"], line["of"]) for line in told} >= {("heat1d", 8, 8), ("oscillator", 4, 8)}


@given(rows=st.integers(1, 300), most=st.integers(1, 200))
def test_a_size_has_room_and_is_one_of_those_there_are(rows: int, most: int) -> None:
    sizes = Sizes.up_to(most)
    assert sizes.buckets[-1] <= max(4, most) < 2 * max(4, sizes.buckets[-1])
    for kind in (sizes, FOURS):
        size, filled = kind.of(rows), kind.fill(torch.arange(rows))
        assert len(filled) == size >= rows
        assert size % 4 == 0
        assert filled[:rows].tolist() == list(range(rows))
        assert set(filled[rows:].tolist()) <= {rows - 1}
    assert sizes.of(rows) in sizes.buckets or rows > sizes.buckets[-1]
    assert FOURS.of(rows) - rows < 4
    assert len(sizes.fill(torch.arange(0))) == 0


@pytest.mark.gpu
def test_a_gpu_meets_its_sizes_when_it_is_warmed(few: Path) -> None:
    """There the allocator's blocks are all there once every size has run: further batches take no new memory."""
    inference = Inference(few, "cuda", "torch", MOST)
    inference.warm()
    spec = replace(next(specs(inference)), methods=("dipg",))
    reserved = torch.cuda.memory_reserved()
    for count in (1, 7, 17, 32):
        inference.solve(spec, observations(inference, spec.model, count))
    assert torch.cuda.memory_reserved() == reserved
