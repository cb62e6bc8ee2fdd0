"""What one iteration and one solve cost by engine and batch, beside the matrix products that an iteration needs.

All of a line's runs take turns, and the best of each counts: what else the machine does can only add. Costs are CPU
time on one thread.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.measure import cpu_timed
from models.deceptron import DeceptronLayer, LearnedInverse
from models.engine import Maps, OnnxMaps
from models.registry import LoadedModel
from solvers.gauss_newton import LevenbergMarquardt
from solvers.method import CHARGES, Method, Objective
from solvers.plans import dipg_of, objective_for, plan_for, rules_for, run_plan
from solvers.solve import Solution, solve

BATCHES = (1, 16, 256, 1024, 4096, 16_384)
SMALL = 64  # unknowns; larger problems cost milliseconds an item, and get no more than MOST_VALUES in a batch
MOST_VALUES = 1 << 18
LM_UP_TO = 256  # rows
MOST_REPEATS = 300  # of a run by itself
MOST_TURNS, LEAST_TURNS, LEAST_S = 60, 2, 0.3
SLOW_S = 0.05
BURST = 5  # quick runs at a stretch, so that the best of them finds its code and data in the caches


@dataclass(frozen=True)
class Line:
    """CPU seconds on ``batch`` rows.

    Attributes:
        first, further: an iteration of D-IPG by engine, the first of a solve and one after it; no step is shortened.
        solve: a whole solve by D-IPG under the model's own rules, by engine.
        shortened: share of rows that took more than the full step in a first or further iteration.
        lm: an iteration of LM; products: the bare matrix products of an iteration of D-IPG, where f is a matrix.
    """

    model: str
    batch: int
    first: Mapping[str, float]
    further: Mapping[str, float]
    solve: Mapping[str, float]
    lm: float | None
    products: float | None
    shortened: float

    @property
    def iteration(self) -> float:
        """The quicker engine's, after the first."""
        return min(self.further.values())


def engines_of(loaded: LoadedModel) -> list[Maps]:
    """PyTorch, and ONNX Runtime where the checkpoint has graphs."""
    return [loaded.deceptron, *([OnnxMaps(loaded.graphs, loaded.deceptron, "cpu")] if loaded.graphs else [])]


def batches_for(loaded: LoadedModel) -> list[int]:
    """Those whose unknowns are not too many."""
    return [batch for batch in BATCHES if loaded.problem.n <= SMALL or batch * loaded.problem.n <= MOST_VALUES]


def line(loaded: LoadedModel, batch: int, budget_s: float) -> Line:
    """Measures all of it on held-out observations, in turn."""
    y = observations(loaded, batch)
    runs: dict[str, Callable[[], object]] = {}
    engines = engines_of(loaded)
    for maps in engines:
        runs |= _runs_of(loaded, maps, y)
    with_lm = loaded.problem.n <= SMALL and batch <= LM_UP_TO
    if with_lm:
        objective = objective_for(loaded.manifest.preset, loaded.problem, loaded.deceptron)
        runs |= {f"lm {count}": _iterations(loaded, objective, LevenbergMarquardt(), y, count) for count in (0, 1)}
    products = products_of(loaded, batch)
    if products is not None:
        runs["products"] = products
    best = in_turn(runs, budget_s)
    names = [maps.engine for maps in engines]
    return Line(
        loaded.manifest.name,
        batch,
        {name: _difference(best, f"{name} 1", f"{name} 0") for name in names},
        {name: _difference(best, f"{name} 2", f"{name} 1") for name in names},
        {name: best[f"{name} solve"] for name in names},
        _difference(best, "lm 1", "lm 0") if with_lm else None,
        best.get("products"),
        _shortened(loaded, y),
    )


def _shortened(loaded: LoadedModel, y: Tensor) -> float:
    """Share of rows with more evaluations of f than the first look and two an iteration."""
    preset = loaded.manifest.preset
    objective = objective_for(preset, loaded.problem, loaded.deceptron)
    found = _iterations(loaded, objective, dipg_of(preset), y, 2)()
    forward = found.cost[:, CHARGES.index("forward")]
    return (forward > 1 + 2 * found.iterations).double().mean().item()


def observations(loaded: LoadedModel, batch: int) -> Tensor:
    """Noisy, held out by their seed."""
    generator = torch.Generator().manual_seed(1)
    return loaded.problem.observe(loaded.problem.simulate(batch, generator)[1], generator).float()


def _runs_of(loaded: LoadedModel, maps: Maps, y: Tensor) -> dict[str, Callable[[], object]]:
    """No iteration, one and two from the prior's start, and a whole solve, by D-IPG on one engine."""
    problem, preset = loaded.problem, loaded.manifest.preset
    objective, method = objective_for(preset, problem, loaded.deceptron, maps=maps), dipg_of(preset)
    runs = {f"{maps.engine} {count}": _iterations(loaded, objective, method, y, count) for count in (0, 1, 2)}
    rules = rules_for(preset, problem.m, loaded.manifest.refinements)
    plan = plan_for("dipg", preset, problem.n)
    return runs | {f"{maps.engine} solve": partial(run_plan, plan, objective, y, problem.start, rules)}


def _iterations(
    loaded: LoadedModel, objective: Objective, method: Method, y: Tensor, count: int
) -> Callable[[], Solution]:
    """So many iterations that nothing ends early."""
    rules = rules_for(loaded.manifest.preset, loaded.problem.m)
    rules = replace(rules, tolerance=0.0, least_decrease=-1e6, max_iterations=count)
    start = torch.tensor(loaded.problem.start).repeat(len(y), 1)
    one_shot = objective.inverse(y) if method.inverses_per_trial else None
    return partial(solve, objective, y, start, method, rules, one_shot=one_shot)


def products_of(loaded: LoadedModel, batch: int) -> Callable[[], None] | None:
    """The matrix products of one iteration into memory that is there: f, its transpose, and g where it is anchored."""
    weights = weights_of(loaded)
    if not weights:
        return None
    triples = [(torch.randn(batch, W.shape[1]), W.T, torch.empty(batch, W.shape[0])) for W in weights]

    def products() -> None:
        for x, W, out in triples:
            torch.mm(x, W, out=out)

    return products


def weights_of(loaded: LoadedModel) -> list[Tensor]:
    """One matrix a product; none where f is no matrix. The published form's full step needs no g: it leads to g(y*)."""
    pair = loaded.deceptron.pair
    if isinstance(pair, DeceptronLayer):
        return [pair.W.detach(), pair.W.detach().T.contiguous()]
    A = getattr(loaded.problem.forward, "matrix", None)
    if A is None or not isinstance(pair, LearnedInverse):
        return []
    layers = [layer.weight for layer in pair.modules() if isinstance(layer, nn.Linear)]
    return [A.float(), A.float().T.contiguous(), pair.V.detach(), *(layer.detach() for layer in layers)]


def in_turn(runs: Mapping[str, Callable[[], object]], budget_s: float) -> dict[str, float]:
    """Least CPU seconds of every run, all of them in turn as often as the budget allows."""
    best = {name: cpu_timed(run)[1] for name, run in runs.items()}
    bursts = {name: BURST if seconds < SLOW_S else 1 for name, seconds in best.items()}
    began = time.process_time()
    for turn in range(MOST_TURNS):
        if turn >= LEAST_TURNS and time.process_time() - began > max(budget_s, LEAST_S):
            break
        for name, run in runs.items():
            best[name] = min(best[name], *(cpu_timed(run)[1] for _ in range(bursts[name])))
    return best


def best_of(run: Callable[[], object], budget_s: float) -> float:
    """Least wall time of as many repeats as the budget allows."""
    run()
    times: list[float] = []
    while not times or (sum(times) < budget_s and len(times) < MOST_REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def _difference(best: Mapping[str, float], more: str, less: str) -> float:
    return max(best[more] - best[less], 1e-9)
