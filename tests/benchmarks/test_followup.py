"""The follow-up's own tolerance is measured in its own unit: the spread of y."""

import pytest

from benchmarks.followup import PUBLISHED, THEIRS, Published, cheaper_goal, task_at
from benchmarks.measure import held_out_items
from benchmarks.setup import Setup
from solvers.dipg import DIPG
from solvers.plans import Start


@pytest.mark.parametrize("name", ["heat1d_nonlinear", "heat3d"])
def test_the_unit_is_the_spread_of_each_sensor(name: str, setup: Setup) -> None:
    loaded = setup.registry.load(name)
    items = held_out_items(loaded.problem, 500, 5, 0)
    task = task_at(loaded, PUBLISHED[name], "lm", items)
    assert task.objective.weight.double().numpy() == pytest.approx(items.y.std(0).numpy(), rel=0.15)
    assert task.rules.tolerance == PUBLISHED[name].tolerance
    assert task.rules.refinements == 0


def test_on_allen_cahn_it_is_one_spread_for_all(setup: Setup) -> None:
    loaded = setup.registry.load("allen_cahn2d")
    items = held_out_items(loaded.problem, 20, 5, 0)
    weight = task_at(loaded, PUBLISHED["allen_cahn2d"], "lm", items).objective.weight
    assert weight.unique().numel() == 1
    assert weight[0].item() == pytest.approx(items.y.std().item(), rel=0.15)


def test_their_form_of_the_method_is_the_published_one(setup: Setup) -> None:
    loaded = setup.registry.load("heat3d")
    task = task_at(loaded, Published(0.38, "1.00"), THEIRS, held_out_items(loaded.problem, 2, 5, 0))
    (stage,) = task.plan
    assert stage.method == DIPG(anchored=False)
    assert stage.start is Start.PRIOR
    assert task.rules.line_search.relaxation == 0.4


def test_cheaper_at_one_batch_only_is_not_enough() -> None:
    assert cheaper_goal("a", "b", {1: {"lm": 20.0, "dipg": 2.0}}).holds
    assert not cheaper_goal("a", "b", {1: {"lm": 20.0, "dipg": 2.0}, 16: {"lm": 9.0, "dipg": 1.0}}).holds
