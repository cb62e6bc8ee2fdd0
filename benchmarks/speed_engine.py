"""How near the floor the engine is: one iteration of D-IPG against its bare matrix products, by engine and batch."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.timing import seconds_per_step
from models.deceptron import LearnedInverse
from models.engine import Maps, OnnxMaps
from models.registry import LoadedModel
from solvers.dipg import DIPG
from solvers.gauss_newton import LevenbergMarquardt
from solvers.plans import objective_for, rules_for

BATCHES = (1, 256, 1024, 16_384)
MOST_REPEATS = 200


@dataclass(frozen=True)
class Step:
    """Seconds of one iteration on ``batch`` rows: D-IPG by engine, LM, and the matrix products that D-IPG needs."""

    model: str
    batch: int
    dipg: dict[str, float]
    lm: float | None
    products: float | None


def engines_of(loaded: LoadedModel) -> list[Maps]:
    """PyTorch, and ONNX Runtime where the checkpoint has graphs."""
    return [loaded.deceptron, *([OnnxMaps(loaded.graphs, loaded.deceptron, "cpu")] if loaded.graphs else [])]


def step(loaded: LoadedModel, batch: int, budget_s: float) -> Step:
    """Measures one iteration from the one-shot answer, on held-out observations."""
    problem = loaded.problem
    generator = torch.Generator().manual_seed(1)
    y = problem.observe(problem.simulate(batch, generator)[1], generator).float()
    rules = rules_for("product", problem.m)
    dipg: dict[str, float] = {}
    for maps in engines_of(loaded):
        objective = objective_for("product", problem, loaded.deceptron, maps=maps)
        dipg[maps.engine] = seconds_per_step(objective, y, objective.inverse(y), DIPG(), rules, budget_s)
    objective = objective_for("product", problem, loaded.deceptron)
    small = batch * problem.n <= 1 << 16
    lm = seconds_per_step(objective, y, objective.inverse(y), LevenbergMarquardt(), rules, budget_s) if small else None
    return Step(loaded.manifest.name, batch, dipg, lm, bare_products(loaded, batch, budget_s))


def bare_products(loaded: LoadedModel, batch: int, budget_s: float) -> float | None:
    """The matrix products of one iteration and nothing else: f, its transpose and g; None where f is no matrix."""
    matrix = getattr(loaded.problem.forward, "matrix", None)
    pair = loaded.deceptron.pair
    if matrix is None or not isinstance(pair, LearnedInverse):
        return None
    A = matrix.float()
    layers = [layer.weight for layer in pair.modules() if isinstance(layer, nn.Linear)]
    weights = [A, A.T.contiguous(), pair.V.detach(), *(layer.detach() for layer in layers)]
    pairs = [(torch.randn(batch, W.shape[1]), W.T, torch.empty(batch, W.shape[0])) for W in weights]

    def products() -> None:
        for x, W, out in pairs:
            torch.mm(x, W, out=out)

    return best_of(products, budget_s)


def best_of(run: Callable[[], object], budget_s: float) -> float:
    """Least wall time of as many repeats as the budget allows."""
    run()
    times: list[float] = []
    while not times or (sum(times) < budget_s and len(times) < MOST_REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)
