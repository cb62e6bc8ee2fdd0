"""Costs and traces: what the clocks are put around."""

import math
from dataclasses import replace

import pytest
import torch

from benchmarks.measure import held_out_items
from benchmarks.scaling import Cell, exponent
from benchmarks.setup import Setup, one_thread
from benchmarks.task import MultiStart, Task
from benchmarks.timing import carried_forward, microseconds_per_item, side_by_side, trace
from benchmarks.variants import acceptance
from solvers.method import CHARGES
from solvers.solve import Solution, Status


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5, -1.0])
def test_exponent_of_a_power_law_is_its_power(power: float) -> None:
    sizes = [32.0, 64.0, 128.0, 1024.0]
    assert exponent(sizes, [3.7 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


def test_exponent_averages_over_noise() -> None:
    sizes = [2.0**k for k in range(4, 12)]
    costs = [size**2 * math.exp(0.05 * math.sin(7.0 * k)) for k, size in enumerate(sizes)]
    assert exponent(sizes, costs) == pytest.approx(2.0, abs=0.02)


def test_a_cell_not_tried_has_no_cost() -> None:
    assert Cell("lm", 2048, 1, None).microseconds_per_item is None
    assert Cell("lm", 64, 4, 2e-6).microseconds_per_item == pytest.approx(0.5)


def test_carried_forward_keeps_each_rows_last_residual() -> None:
    nan = math.nan
    history = torch.tensor([[4.0, 2.0, 1.0], [5.0, nan, nan], [3.0, 2.5, nan]])
    assert carried_forward(history).tolist() == [[4.0, 2.0, 1.0], [5.0, 5.0, 5.0], [3.0, 2.5, 2.5]]


def test_acceptance_counts_steps_over_trial_points() -> None:
    """One row accepts twice at once; one accepts at its third trial, then stalls after nine."""
    cost = torch.zeros(2, len(CHARGES), dtype=torch.long)
    cost[:, CHARGES.index("forward")] = torch.tensor([1 + 2 + 2, 1 + 2 + 3 + 9])
    status = torch.tensor([Status.CONVERGED, Status.STALLED])
    none = torch.empty(2, 0)
    solution = Solution(none, none, torch.zeros(2), status, torch.tensor([2, 2]), cost)
    assert acceptance(solution) == pytest.approx((2 + 1) / (2 + 12))


def test_trace_has_a_time_for_every_residual(setup: Setup) -> None:
    loaded = setup.registry.load("heat1d")
    items = held_out_items(loaded.problem, 20, 5, 0)
    found = trace(loaded, "product", "lbfgs", items)
    assert found.residual.shape == (20, len(found.seconds))
    assert (found.seconds.diff() >= 0).all()
    assert (found.residual[:, -1] <= found.residual[:, 0]).all()
    with pytest.raises(ValueError, match="several stages"):
        trace(loaded, "product", "auto", items)


def test_blocks_are_whole_batches_or_all_there_is(setup: Setup) -> None:
    loaded = setup.registry.load("heat1d")
    task = Task.of(loaded, "product", "dipg", held_out_items(loaded.problem, 20, 5, 0))
    assert len(microseconds_per_item(task, 8, budget_s=60.0)) == 2
    assert len(microseconds_per_item(task, 256, budget_s=60.0)) == 1
    assert len(microseconds_per_item(task, 1, budget_s=0.0)) == 1


def test_tasks_side_by_side_are_timed_on_the_same_blocks(setup: Setup) -> None:
    loaded = setup.registry.load("heat1d")
    items = held_out_items(loaded.problem, 20, 5, 0)
    tasks = {method: Task.of(loaded, "product", method, items) for method in ("dipg", "lm")}
    assert {name: len(found.microseconds) for name, found in side_by_side(tasks, 8, 60.0).items()} == {
        "dipg": 2,
        "lm": 2,
    }
    alone = side_by_side(tasks, 1, 0.0)
    assert {name: len(found.microseconds) for name, found in alone.items()} == {"dipg": 1, "lm": 1}
    for name, task in tasks.items():
        assert torch.equal(alone[name].work, task.solve(slice(0, 1)).cost[0].double())


def test_of_several_starts_each_row_keeps_its_best_and_pays_for_all(setup: Setup) -> None:
    """A bad start beside the usual one changes no answer for the worse; the other way round it changes them."""
    loaded = setup.registry.load("oscillator")
    lm = Task.of(loaded, "product", "lm", held_out_items(loaded.problem, 20, 5, 0))
    short = replace(lm, rules=replace(lm.rules, max_iterations=3))
    middle, bad = torch.tensor(loaded.problem.start), torch.tensor([2.0, 0.0, 5.0, -2.0, -2.0])
    alone, worse, both = (
        MultiStart(starts=torch.stack(starts), **vars(short)).solve(slice(None))
        for starts in ([middle], [bad], [bad, middle])
    )
    assert torch.equal(alone.x, short.solve(slice(None)).x)
    assert torch.equal(both.residual_rms, torch.minimum(alone.residual_rms, worse.residual_rms))
    assert (worse.residual_rms > alone.residual_rms).any()
    assert torch.equal(both.iterations, alone.iterations + worse.iterations)
    assert torch.equal(both.cost, alone.cost + worse.cost)


def test_costs_are_measured_on_one_thread_and_no_longer() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
