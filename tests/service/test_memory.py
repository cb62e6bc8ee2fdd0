"""Rows solved at once: within memory, and fewer after it ran out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from service import inference as inference_module
from service.inference import Inference, SolveSpec
from service.memory import MOST_ROWS, RowsAtOnce, _available, _left_in_group, is_out_of_memory
from service.settings import CHECKPOINTS

SAYINGS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    RuntimeError("Failed to allocate memory for requested buffer of size 8"),
]


@pytest.mark.parametrize("error", SAYINGS, ids=str)
def test_a_block_too_large_is_tried_again_in_halves(error: Exception) -> None:
    rows, done = RowsAtOnce(16), list[int]()

    def work(block: slice) -> None:
        if block.stop - block.start > 5:
            raise error
        done.extend(range(block.start, block.stop))

    rows.run(21, work)
    assert done == list(range(21))
    assert rows.limit == 4


def test_other_errors_and_single_rows_are_not_tried_again() -> None:
    def fails(_: slice) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        RowsAtOnce(4).run(4, fails)
    assert not is_out_of_memory(ValueError("shapes do not match"))
    rows = RowsAtOnce(4)
    with pytest.raises(ZeroDivisionError):
        rows.run(4, lambda block: 1 // 0)  # type: ignore[arg-type,return-value]
    assert rows.limit == 4


def test_large_problems_get_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.memory.free_bytes", lambda device: 4 << 30)
    small, large = (RowsAtOnce.that_fit(n, n, "cpu").limit for n in (5, 1024))
    assert small == MOST_ROWS
    assert 64 <= large <= 512
    monkeypatch.setattr("service.memory.free_bytes", lambda device: 0)
    assert RowsAtOnce.that_fit(5, 5, "cpu").limit == 1


def test_memory_is_read_from_where_the_system_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert _available(tmp_path / "meminfo") == 2 << 20
    assert _available(tmp_path / "nowhere") == 4 << 30
    for most, left in (("max", 1 << 62), ("5000", 2000)):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        (tmp_path / "memory.current").write_text("3000\n")
        assert _left_in_group(tmp_path) == left


def test_a_job_goes_on_after_memory_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen rows, of which memory holds eight at a time: the same answers, in order. Batches are whole fours."""
    inference, spec = Inference(CHECKPOINTS, "cpu"), SolveSpec("oscillator", 1, ("auto",))
    y = np.random.default_rng(0).normal(size=(15, 64))
    expected = inference.solve(spec, y)[0]
    run_plan, sizes = inference_module.run_plan, list[int]()

    def tight(plan: object, objective: object, observation: torch.Tensor, *rest: object) -> object:
        sizes.append(len(observation))
        if len(observation) > 8:
            raise MemoryError
        return run_plan(plan, objective, observation, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(inference_module, "run_plan", tight)
    found = inference.solve(spec, y)[0]
    assert sizes == [16, 8, 8, 4]
    np.testing.assert_array_equal(found.x, expected.x)
    assert [item["status"] for item in found.items] == [item["status"] for item in expected.items]
