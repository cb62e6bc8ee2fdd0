"""What single methods promise: D-IPG's two curves, gradient steps, what L-BFGS remembers and forgets."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from solvers.dipg import DIPG
from solvers.gradient import BarzilaiBorwein, FixedStepGradient, cauchy_step
from solvers.lbfgs import LBFGS, Moves
from solvers.line_search import Armijo
from solvers.method import Iterate, Memory, Method
from solvers.solve import Rules, Status, solve
from tests.solvers.toys import ROWS, RULES, TOYS, Toy, nonlinear, objective, well_posed


def begin(method: Method, toy: Toy, x: Tensor) -> Memory:
    return method.begin(toy.objective, x, lambda: toy.objective.inverse(toy.observation))


def propose(method: Method, toy: Toy, x: Tensor) -> tuple[Iterate, Tensor, Tensor]:
    """(iterate, x(0), x(1)) of the curve from x."""
    at = Iterate.at(toy.objective, x, toy.observation)
    curve = method.propose(toy.objective, at, begin(method, toy, x)).curve
    zero = x.new_zeros(len(x), 1)
    torch.testing.assert_close(curve.full(), curve(zero + 1.0))
    return at, curve(zero), curve(zero + 1.0)


def somewhere(toy: Toy, seed: int = 9) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn_like(toy.start)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_published_curve_ends_at_the_one_shot_answer_wherever_it_starts(seed: int) -> None:
    toy = nonlinear()
    x = somewhere(toy, seed)
    at, zero, one = propose(DIPG(anchored=False), toy, x)
    torch.testing.assert_close(one, toy.objective.inverse(toy.observation))
    torch.testing.assert_close(zero, toy.objective.inverse(at.y))
    assert ((zero - x).norm(dim=1) > 1e-2).all(), "g(f(x)) is not x: the published curve misses where it stands"


def test_the_anchored_curve_passes_through_x() -> None:
    toy = nonlinear()
    x = somewhere(toy)
    at, zero, one = propose(DIPG(), toy, x)
    torch.testing.assert_close(zero, x, rtol=1e-12, atol=1e-12)
    g = toy.objective.inverse
    torch.testing.assert_close(one, x + g(toy.observation) - g(at.y))


def test_published_stalls_where_anchored_goes_on() -> None:
    """With a g that is right nowhere, g(y*) is as far as the published form gets."""
    toy = nonlinear()
    rules = replace(RULES, least_decrease=1e-6)
    published = solve(toy.objective, toy.observation, toy.start, DIPG(anchored=False), rules)
    anchored = solve(toy.objective, toy.observation, toy.start, DIPG(), rules)
    assert (published.status == Status.STALLED).all()
    assert (published.residual_rms > 1e-2).all()
    assert (anchored.status == Status.CONVERGED).all()


@pytest.mark.parametrize("method", [FixedStepGradient(), BarzilaiBorwein(), LBFGS()], ids=repr)
def test_first_steps_go_down_the_gradient(method: Method) -> None:
    toy = nonlinear()
    x = somewhere(toy)
    at, zero, one = propose(method, toy, x)
    assert torch.equal(zero, x)
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(one - x, -at.gradient), torch.ones(ROWS).double())


def test_the_papers_gradient_step_is_one_on_the_mean_misfit() -> None:
    """grad Phi = J^T r / m: a 64th of the sum's at m = 64, which is what makes x-GD slow in the paper."""
    toy = well_posed()
    x = somewhere(toy)
    _, _, one = propose(FixedStepGradient(), toy, x)
    J = torch.autograd.functional.jacobian(lambda row: toy.objective.forward(row[None])[0], x[0])
    residual = toy.objective.forward(x) - toy.observation
    torch.testing.assert_close(one, x - residual @ J / len(toy.objective.weight))


def test_the_cauchy_step_is_the_best_along_the_gradient() -> None:
    toy = well_posed()
    at = Iterate.at(toy.objective, somewhere(toy), toy.observation)
    step = cauchy_step(toy.objective, at)

    def misfit(factor: float) -> Tensor:
        return Iterate.at(toy.objective, at.x - factor * step * at.gradient, toy.observation).misfit

    assert (misfit(1.0) < misfit(0.99)).all()
    assert (misfit(1.0) < misfit(1.01)).all()


def test_barzilai_borwein_takes_the_secant_step() -> None:
    """After one move, s.s / s.y: on a quadratic the inverse of a mean curvature, beyond any fixed safe step."""
    toy, method = well_posed(), BarzilaiBorwein()
    x = somewhere(toy)
    at = Iterate.at(toy.objective, x, toy.observation)
    memory = method.propose(toy.objective, at, begin(method, toy, x)).memory
    moved = Iterate.at(toy.objective, x - 0.5 * at.gradient, toy.observation)
    proposal = method.propose(toy.objective, moved, memory)
    s, y = moved.x - at.x, moved.gradient - at.gradient
    step = s.square().sum(1, keepdim=True) / (s * y).sum(1, keepdim=True)
    torch.testing.assert_close(proposal.curve(torch.ones(ROWS, 1).double()), moved.x - step * moved.gradient)


def test_scaled_gradients_beat_the_papers_step() -> None:
    toy = well_posed()
    rules = replace(RULES, max_iterations=2000)
    paper, scaled = (
        solve(toy.objective, toy.observation, toy.start, method, rules).iterations
        for method in (FixedStepGradient(), BarzilaiBorwein())
    )
    assert (scaled * 4 < paper).all()


def test_lbfgs_ends_a_quadratic_in_about_n_steps() -> None:
    """With moves to remember it is far quicker than the gradient it starts from."""
    toy = well_posed()
    found = solve(toy.objective, toy.observation, toy.start, LBFGS(), RULES)
    assert (found.iterations <= 3 * toy.start.shape[1]).all()


def test_lbfgs_forgets_after_a_failed_search_and_then_gives_up() -> None:
    toy, method = nonlinear(), LBFGS(memory=3)
    memory = begin(method, toy, toy.start)
    x = somewhere(toy)
    for _ in range(3):
        at = Iterate.at(toy.objective, x, toy.observation)
        proposal = method.propose(toy.objective, at, memory)
        memory, x = proposal.memory, proposal.curve(x.new_full((ROWS, 1), 0.5))
    assert isinstance(memory, Moves)
    assert (memory.rho.abs().sum((1, 2)) > 0).all()

    accepted = torch.tensor([True, False] * (ROWS // 2))
    learned, may_retry = method.learn(memory, torch.ones(ROWS, 1).double(), accepted)
    assert isinstance(learned, Moves)
    assert may_retry.all()
    assert torch.equal(learned.rho[accepted], memory.rho[accepted])
    assert (learned.rho[~accepted] == 0).all()

    at = Iterate.at(toy.objective, x, toy.observation)
    again = method.propose(toy.objective, at, learned)
    step = again.curve(torch.ones(ROWS, 1).double()) - x
    cauchy = -cauchy_step(toy.objective, at) * at.gradient
    torch.testing.assert_close(step[~accepted], cauchy[~accepted])
    assert ((step - cauchy)[accepted].norm(dim=1) > 1e-6).all()
    _, may_retry = method.learn(again.memory, torch.ones(ROWS, 1).double(), torch.zeros(ROWS, dtype=torch.bool))
    assert torch.equal(may_retry, accepted)


def test_lbfgs_retries_count_and_end() -> None:
    """Inconsistent data: at the minimum the search fails, the moves go, the gradient fails too, and the row stalls."""
    of = objective(lambda x: torch.cat([x, x * x], 1), lambda y: y[:, :1], 1, 2)
    target = torch.tensor([[1.0, -1.0]]).double()
    found = solve(of, target, torch.full((1, 1), 0.9).double(), LBFGS(), Rules(Armijo(), 1e-9, 200))
    assert found.status.tolist() == [Status.STALLED]
    # d/dx [(x - 1)^2 + (x^2 + 1)^2] = 0
    x = found.x.item()
    assert 2 * (x - 1) + 4 * x * (x * x + 1) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("toy", TOYS)
def test_lbfgs_directions_go_down(toy: str) -> None:
    case, method = TOYS[toy](), LBFGS(memory=4)
    x = case.objective.constraint.project(somewhere(case))
    memory = begin(method, case, x)
    for _ in range(6):
        at = Iterate.at(case.objective, x, case.observation)
        proposal = method.propose(case.objective, at, memory)
        moved = proposal.curve(x.new_ones(len(x), 1)) - x
        assert (((moved * at.gradient).sum(1) < 0) | (at.gradient.norm(dim=1) < 1e-12)).all()
        memory, x = proposal.memory, case.objective.constraint.project(x + 0.3 * moved)
