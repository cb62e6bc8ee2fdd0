"""Laws that every registered problem obeys, and how problems are found by name."""

import math
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from models.jacobian import jacobian
from physics.problem import ENTRY_POINT_GROUP, PROBLEMS, Derivatives, Problem, UnknownProblem, load_problem


@pytest.fixture(params=sorted(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> Problem:
    return load_problem(request.param)


def draw(problem: Problem, count: int = 12) -> tuple[Tensor, Tensor]:
    return problem.simulate(count, Generator().manual_seed(0))


def test_is_found_under_its_own_name(problem: Problem) -> None:
    assert load_problem(problem.name) is problem


def test_shapes_and_words_agree(problem: Problem) -> None:
    x, y = draw(problem)
    assert x.shape == (12, problem.n)
    assert y.shape == (12, problem.m)
    assert x.dtype == y.dtype == torch.float64
    assert len(problem.start) == len(problem.scale) == problem.n
    assert min(problem.scale) > 0
    for side in (problem.unknown, problem.observation):
        assert len(side.axis) in (0, side.size)
        assert len(side.components) in (0, side.size)
        assert len(side.component_units) == len(side.components)
        assert bool(side.axis) == bool(side.axis_label)
        assert not side.grid or math.prod(side.grid) == side.size
        assert side.axis or side.components or side.grid, "people must be able to tell the values apart"
    assert problem.title
    assert problem.source


def test_start_and_samples_lie_in_the_constraint(problem: Problem) -> None:
    x, _ = draw(problem, 200)
    assert problem.constraint.contains(x, 0.0).all()
    assert problem.constraint.contains(torch.tensor([problem.start]).double(), 0.0).all()


def test_scale_is_the_size_of_the_unknowns(problem: Problem) -> None:
    spread = draw(problem, 500)[0].std(0)
    free = spread > 0
    ratio = spread[free] / torch.tensor(problem.scale).double()[free]
    assert 0.05 < ratio.median() < 5.0
    assert ((ratio > 0.01) & (ratio < 5.0)).all()


def test_adjoint_matches_the_derivative(problem: Problem) -> None:
    """Dot test: <J v, u> = <v, J^T u> for forward- and reverse-mode derivatives, in any direction."""
    x, y = draw(problem)
    v, u = torch.randn_like(x), torch.randn_like(y)
    pushed = torch.func.jvp(problem.forward, (x,), (v,))[1]
    pulled = torch.func.vjp(problem.forward, x)[1](u)[0]
    torch.testing.assert_close((pushed * u).sum(1), (v * pulled).sum(1), rtol=1e-10, atol=1e-12)


def test_derivatives_in_closed_form_are_those_of_autograd(problem: Problem) -> None:
    if not isinstance(problem.forward, Derivatives):
        assert problem.name == "allen_cahn2d"
        return
    x, y = draw(problem)
    u = torch.randn_like(y)
    pulled = torch.func.vjp(problem.forward, x)[1](u)[0]
    torch.testing.assert_close(problem.forward.adjoint(x, u), pulled, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(problem.forward.jacobian(x), jacobian(problem.forward, x, problem.m))


def test_derivative_matches_differences(problem: Problem) -> None:
    x, _ = draw(problem)
    v = torch.randn_like(x)
    h = 1e-6
    difference = (problem.forward(x + h * v) - problem.forward(x - h * v)) / (2 * h)
    pushed = torch.func.jvp(problem.forward, (x,), (v,))[1]
    torch.testing.assert_close(pushed, difference, rtol=1e-6, atol=1e-7)


def test_float32_is_lost_in_the_noise(problem: Problem) -> None:
    x, _ = draw(problem, 100)
    y = problem.forward(x.float())
    assert y.dtype == torch.float32
    expected = problem.forward(x.float().double())
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=0.01 * problem.noise_std)


def test_rows_do_not_know_each_other(problem: Problem) -> None:
    x, y = draw(problem)
    alone = torch.cat([problem.forward(row[None]) for row in x])
    torch.testing.assert_close(alone, y, rtol=1e-13, atol=1e-13)


def test_noise_has_the_stated_spread(problem: Problem) -> None:
    y = torch.zeros(4000, problem.m, dtype=torch.float64)
    noise = problem.observe(y, Generator().manual_seed(0))
    assert noise.std().item() == pytest.approx(problem.noise_std, rel=0.01)
    assert abs(noise.mean().item()) < 0.01 * problem.noise_std
    assert torch.equal(noise, problem.observe(y, Generator().manual_seed(0)))
    assert problem.observe(y.float(), Generator().manual_seed(0)).dtype == torch.float32


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UnknownProblem, match=r"no problem named 'heat2d'; known are .*heat1d, .*oscillator"):
        load_problem("heat2d")


@pytest.mark.parametrize("name", ["os:getcwd", "physics.heat1d:PROBLEM", "", "heat1d ", "HEAT1D"])
def test_a_name_is_never_a_path_to_code(name: str) -> None:
    """Names come out of checkpoints: only what is registered may be imported."""
    with pytest.raises(UnknownProblem):
        load_problem(name)


def register(folder: Path, name: str, target: str) -> None:
    """What `pip install` leaves behind of a package with a problem in it."""
    info = folder / f"{name}_problem-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-problem\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{name} = {target}\n")


def test_installed_packages_add_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys_rod.py").write_text("from physics.heat1d import heat1d\nPROBLEM = heat1d(8)\n")
    register(tmp_path, "rod", "somebodys_rod:PROBLEM")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_problem("rod").n == 8
    with pytest.raises(UnknownProblem, match=r"known are .*heat1d, .*oscillator, rod"):
        load_problem("nobodys")


def test_an_installed_package_does_not_replace_a_problem_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tmp_path, "heat1d", "nowhere:PROBLEM")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_problem("heat1d").n == 64


def test_what_is_registered_must_be_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(tmp_path, "clock", "time:time")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match=r"'clock'.*time:time.*not a Problem"):
        load_problem("clock")
