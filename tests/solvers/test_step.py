"""A compiled step, or several in a row, against the same steps map by map."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.engine import STEP, OnnxMaps
from models.registry import LoadedModel, Registry
from service.settings import CHECKPOINTS
from solvers.dipg import Reached
from solvers.line_search import Armijo, Trial
from solvers.method import Objective
from solvers.plans import dipg_of, objective_for, rules_for
from solvers.solve import Status, solve
from solvers.step import CompiledStep, Limits, Step, full_step

REGISTRY = Registry(CHECKPOINTS)
COMPILED = [name for name in REGISTRY.names() if any(graph.startswith(STEP) for graph in REGISTRY.load(name).graphs)]
NOTHING_IS_NEWS = Limits(5, -1.0, 1e6)
ROWS = 8


def case(name: str, rows: int = ROWS) -> tuple[LoadedModel, Objective, Objective, Tensor]:
    """A model, its objective by maps and by graphs, and observations."""
    loaded = REGISTRY.load(name)
    generator = torch.Generator().manual_seed(5)
    y = loaded.problem.observe(loaded.problem.simulate(rows, generator)[1], generator).float()
    preset = loaded.manifest.preset
    maps = OnnxMaps(loaded.graphs, loaded.deceptron, "cpu")
    plain, compiled = (
        objective_for(preset, loaded.problem, loaded.deceptron, maps=each) for each in (loaded.deceptron, maps)
    )
    return loaded, plain, compiled, y


def stepped(loaded: LoadedModel, objective: Objective, y: Tensor, here: Trial, limits: Limits) -> Step:
    preset = loaded.manifest.preset
    search = rules_for(preset, loaded.problem.m).line_search
    return full_step(objective, dipg_of(preset), search, y, here, Reached(objective.inverse(y)), limits)


def beginning(loaded: LoadedModel, objective: Objective, y: Tensor) -> Trial:
    x = torch.tensor(loaded.problem.start).repeat(len(y), 1)
    reached = objective.forward(x)
    return Trial(x, reached, reached - y, objective.misfit(reached - y))


def test_there_are_compiled_steps_of_both_forms() -> None:
    assert {REGISTRY.manifest(name).preset for name in COMPILED} == {"paper", "product"}


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_step_is_the_step(name: str) -> None:
    loaded, plain, compiled, y = case(name)
    here = beginning(loaded, plain, y)
    found, expected = (stepped(loaded, each, y, here, Limits(1, 0.0, 1.0)) for each in (compiled, plain))
    assert compiled.compiled is not None
    assert found.taken == expected.taken == 1
    assert torch.equal(found.enough, expected.enough)
    for of in ("x", "y", "residual", "misfit"):
        assert torch.equal(getattr(found.at, of), getattr(here, of))
        got, wanted = getattr(found.trial, of), getattr(expected.trial, of)
        assert (got - wanted).abs().max() <= 2e-5 * wanted.abs().max(), of
    alpha = torch.full((ROWS, 1), 0.5)
    for got, wanted in (
        (found.at.gradient, expected.at.gradient),
        (found.proposal.curve.full(), expected.proposal.curve.full()),
        (found.proposal.curve(alpha), expected.proposal.curve(alpha)),
    ):
        assert (got - wanted).abs().max() <= 2e-5 * wanted.abs().max()
    assert found.proposal.cost == expected.proposal.cost


@pytest.mark.parametrize("name", COMPILED)
def test_several_steps_are_those_steps_in_turn_to_the_bit(name: str) -> None:
    """Until a row refuses one; the last is handed over with where it began."""
    loaded, _, compiled, y = case(name)
    here, taken = beginning(loaded, compiled, y), 0
    while True:
        single = stepped(loaded, compiled, y, here, replace_most(1))
        taken += 1
        if taken == NOTHING_IS_NEWS.most or not single.enough.all():
            break
        here = single.trial
    together = stepped(loaded, compiled, y, beginning(loaded, compiled, y), NOTHING_IS_NEWS)
    assert together.taken == taken
    for of in ("x", "y", "residual", "misfit"):
        assert torch.equal(getattr(together.at, of), getattr(here, of))
        assert torch.equal(getattr(together.trial, of), getattr(single.trial, of))
    assert torch.equal(together.enough, single.enough)


def replace_most(most: int) -> Limits:
    return NOTHING_IS_NEWS._replace(most=most)


def test_an_arrival_and_a_stall_are_news() -> None:
    loaded, _, compiled, y = case("heat1d-paper")
    here = beginning(loaded, compiled, y)
    assert stepped(loaded, compiled, y, here, NOTHING_IS_NEWS).taken > 1
    after = stepped(loaded, compiled, y, here, replace_most(1)).trial.misfit
    arrives = NOTHING_IS_NEWS._replace(level=after.min().item())
    stalls = NOTHING_IS_NEWS._replace(pace=(after / here.misfit).max().item() * 0.99)
    assert stepped(loaded, compiled, y, here, arrives).taken == 1
    assert stepped(loaded, compiled, y, here, stalls).taken == 1


@pytest.mark.parametrize("name", ["heat1d-paper", "oscillator"])
def test_a_solve_books_the_same_either_way(name: str) -> None:
    """Iterations, cost, status and history, whether steps are taken one by one or several at a time."""
    loaded, plain, compiled, y = case(name, 64)
    preset = loaded.manifest.preset
    rules = rules_for(preset, loaded.problem.m, loaded.manifest.refinements)
    start = torch.tensor(loaded.problem.start).repeat(len(y), 1)
    by_maps, by_graph = (solve(each, y, start, dipg_of(preset), rules) for each in (plain, compiled))
    traced = solve(compiled, y, start, dipg_of(preset), rules, history=True)
    for of in ("iterations", "status", "cost"):
        assert torch.equal(getattr(by_graph, of), getattr(by_maps, of)), of
        assert torch.equal(getattr(by_graph, of), getattr(traced, of)), of
    assert torch.equal(by_graph.x, traced.x)
    assert (by_graph.x - by_maps.x).abs().max() <= 1e-5 * by_maps.x.abs().max()


def test_other_rules_and_other_sets_are_taken_map_by_map() -> None:
    """What a graph was not traced for it must not serve."""
    loaded, plain, compiled, y = case("heat1d-paper")

    def never(*_: Tensor) -> list[Tensor]:
        raise AssertionError("the graph was asked")

    assert compiled.compiled is not None
    barred = replace(compiled, compiled=CompiledStep(compiled.compiled.method, compiled.compiled.search, never))
    here = beginning(loaded, plain, y)
    for search in (Armijo(relaxation=0.7), Armijo(slope=0.1, relaxation=0.4)):
        full_step(barred, dipg_of("paper"), search, y, here, Reached(plain.inverse(y)))
    with pytest.raises(AssertionError, match="asked"):
        stepped(loaded, barred, y, here, Limits(1, 0.0, 1.0))
    maps = OnnxMaps(loaded.graphs, loaded.deceptron, "cpu")
    box = loaded.problem.constraint
    assert objective_for("paper", loaded.problem, loaded.deceptron, box, maps).compiled is None
    assert objective_for("product", loaded.problem, loaded.deceptron, maps=maps).compiled is None


def test_the_iteration_limit_holds_in_the_middle_of_several() -> None:
    loaded, _, compiled, y = case("heat1d-paper")
    rules = replace(rules_for("paper", loaded.problem.m), tolerance=0.0, max_iterations=2)
    found = solve(compiled, y, torch.tensor(loaded.problem.start).repeat(len(y), 1), dipg_of("paper"), rules)
    assert (found.iterations == 2).all()
    assert (found.status == Status.MAX_ITERATIONS).all()
