"""Retraining the paper's small Deceptron with one thing changed, and what its solves then look like."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import rmse
from models.composition import Composition, error_from_resolution
from models.deceptron import Deceptron, DeceptronLayer
from physics.problem import Problem
from solvers.method import CHARGES, Method
from solvers.plans import PAPER_CAP, objective_for, rules_for
from solvers.solve import Solution, Status, solve
from training.data import Items
from training.recipes import Recipe
from training.start import prepare
from training.trainer import Trainer

COMPOSED_AT = 20  # items at which J_g J_f is formed; of a linear pair it is the same at all


@dataclass(frozen=True)
class Variant:
    """A recipe to train, and whether g's V is W^T, in training and after."""

    name: str
    recipe: Recipe
    tied: bool = False


def reweighted(recipe: Recipe, **weights: float) -> Recipe:
    """The recipe with those loss weights in every stage."""
    stages = tuple(replace(stage, weights=replace(stage.weights, **weights)) for stage in recipe.stages)
    return replace(recipe, stages=stages)


class TiedLayer(DeceptronLayer):
    """A layer whose V is W^T, as in a tied autoencoder: f and g share their matrix."""

    def __init__(self, layer: DeceptronLayer) -> None:
        nn.Module.__init__(self)
        self.W, self.b, self.c = layer.W, layer.b, layer.c
        self._s, self._mirror = layer._s, layer._mirror

    @property
    def V(self) -> Tensor:  # type: ignore[override]
        """W^T, (n, m)."""
        return self.W.T


def tied_copy(deceptron: Deceptron) -> Deceptron:
    """The same single-layer Deceptron with W^T for V."""
    out = copy.deepcopy(deceptron)
    out.pair = TiedLayer(*out.layers())
    return out


def trained(problem: Problem, variant: Variant, training: Items, seed: int) -> Deceptron:
    """``training.run.fit`` for a variant: the same seed, start and batches, nothing kept on disk."""
    torch.manual_seed(seed)
    deceptron = Deceptron(variant.recipe.config(problem), problem.forward)
    prepare(deceptron, problem, variant.recipe, training)
    if variant.tied:
        deceptron = tied_copy(deceptron)
    with tempfile.TemporaryDirectory() as folder:
        resume_file = Path(folder) / "resume.safetensors"
        Trainer(problem, variant.recipe, deceptron, training, seed, resume_file, quiet=True).run()
    return deceptron.requires_grad_(False).eval()


@dataclass(frozen=True)
class Outcome:
    """One trained seed, solved under the rules of ``paper`` with one method.

    Attributes:
        composition: ||J_g J_f - I||_F^2 / n, median over items: the mean form.
        occurring: the same in the directions that occur: E ||(J_g J_f - I) xi||^2 / n over xi from the covariance of x,
            scaled to unit mean variance.
        acceptance: accepted steps over points tried by the line search.
    """

    n: int
    x_rmse: float
    composition: float
    occurring: float
    acceptance: float
    iterations: Tensor
    converged: Tensor

    @property
    def composition_sum(self) -> float:
        """||J_g J_f - I||_F^2, the paper's form."""
        return self.n * self.composition

    @property
    def mean_iterations(self) -> float:
        """Over items, failures too."""
        return self.iterations.double().mean().item()

    @property
    def capped_iterations(self) -> float:
        """The same with every failed item counted at the cap: one that gives up early is no quicker for it."""
        return torch.where(self.converged, self.iterations, PAPER_CAP).double().mean().item()

    @property
    def success(self) -> float:
        """Share of items at the tolerance."""
        return self.converged.double().mean().item()


def assessed(problem: Problem, deceptron: Deceptron, items: Items, method: Method, relaxation: float) -> Outcome:
    """Solves items (N) from the published start and measures the composition J_g J_f."""
    objective = objective_for("paper", problem, deceptron)
    rules = rules_for("paper", problem.m)
    rules = replace(rules, line_search=replace(rules.line_search, relaxation=relaxation))
    observation = items.y.to(objective.scale)
    start = torch.tensor(problem.start).expand(len(observation), -1)
    solution = solve(objective, observation, start, method, rules)
    resolution = Composition(deceptron.f, deceptron.g, objective.scale).resolution(
        items.x[:COMPOSED_AT].to(observation)
    )
    return Outcome(
        problem.n,
        rmse(solution.x, items.x),
        error_from_resolution(resolution).median().item(),
        _occurring(resolution, items.x).median().item(),
        acceptance(solution),
        solution.iterations,
        solution.status == Status.CONVERGED,
    )


def acceptance(solution: Solution) -> float:
    """Accepted steps over trial points: every iteration but a stalled row's last accepts one."""
    stalled = solution.status.cpu() == Status.STALLED
    iterations = solution.iterations.cpu()
    # The loop pays for f once before it starts, once at each iterate and once at each trial.
    trials = solution.cost[:, CHARGES.index("forward")] - 1 - iterations
    return ((iterations - stalled.long()).sum() / trials.sum().clamp_min(1)).item()


def _occurring(resolution: Tensor, x: Tensor) -> Tensor:
    covariance = torch.cov(x.double().T)
    covariance = covariance * len(covariance) / covariance.trace()
    off = resolution.double() - torch.eye(resolution.shape[-1], dtype=torch.float64)
    return (off @ covariance * off).sum((1, 2)) / len(covariance)


def column(outcomes: Sequence[Outcome], name: str) -> list[float]:
    """One figure of every seed."""
    return [float(getattr(outcome, name)) for outcome in outcomes]
