"""One observation at a time, for solvers that know no batches: residual, exact Jacobian, bounds, our stopping rule."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor
from torchmin import least_squares as torch_least_squares
from tqdm import tqdm

from benchmarks.measure import Measured, cpu_timed
from models.jacobian import jacobian
from models.registry import LoadedModel
from physics.constraints.bounds import Bounded
from physics.problem import Problem
from solvers.method import Map
from solvers.plans import Preset, objective_for, rules_for
from training.data import Items
from training.evaluate import at_noise_level

MOST_EVALUATIONS = 200
LINEAR = ("heat1d",)  # problems with one Jacobian for all x, whose surrogates in use are linear too


class Reached(Exception):
    """A point within the tolerance: thrown out of the peer's loop, since none of them knows our rule."""


@dataclass(frozen=True)
class Single:
    """What a peer is given: f in float64 over the free unknowns, the bounds, the unit w, the tolerance in it."""

    problem: Problem
    forward: Map
    weight: Tensor
    start: Tensor
    lower: Tensor
    upper: Tensor
    free: Tensor
    matrix: Tensor | None
    tolerance: float

    @classmethod
    def of(cls, loaded: LoadedModel, preset: Preset) -> "Single":
        """The setting of a model and preset; problems with bounds only."""
        problem, deceptron = loaded.problem, loaded.deceptron
        if not isinstance(problem.constraint, Bounded):
            raise NotImplementedError(f"peers know bounds only, and {problem.name} has other constraints")
        objective = objective_for(preset, problem, deceptron)
        start = torch.tensor(problem.start, dtype=torch.float64)
        lower, upper = (bound.expand_as(start) for bound in problem.constraint.bounds(start))
        forward = copy.deepcopy(deceptron).double().f
        matrix = jacobian(forward, start[None], problem.m)[0] if problem.name in LINEAR else None
        return cls(
            problem,
            forward,
            objective.weight.double(),
            start,
            lower,
            upper,
            (lower < upper).nonzero()[:, 0],
            matrix,
            rules_for(preset, problem.m).tolerance,
        )

    def whole(self, free: Tensor) -> Tensor:
        """All unknowns (n,) from the free ones; the others stand at their bound."""
        return self.lower.clone().index_copy(0, self.free, free) if len(self.free) < len(self.lower) else free


@dataclass
class Residual:
    """(f(x) - y*) / w of one observation as NumPy functions of the free unknowns; counts, clocks and stops."""

    single: Single
    observation: Tensor
    stop: bool
    evaluations: int = 0
    inside_s: float = 0.0
    best: Tensor = field(default_factory=lambda: torch.empty(0))

    def tensor(self, free: Tensor) -> Tensor:
        """The residual (m,), differentiable; raises Reached at a point within the tolerance."""
        single = self.single
        x = single.whole(free)
        y = single.forward(x[None])[0]
        residual: Tensor = (y - self.observation) / single.weight
        self.evaluations += 1
        if self.stop and residual.detach().square().mean().sqrt() <= single.tolerance:
            self.best = x.detach()
            raise Reached
        return residual

    def values(self, free: np.ndarray) -> np.ndarray:
        """The residual as an array."""
        began = time.process_time()
        try:
            out: np.ndarray = self.tensor(torch.from_numpy(free)).numpy()
        finally:
            self.inside_s += time.process_time() - began
        return out

    def derivatives(self, free: np.ndarray) -> np.ndarray:
        """The Jacobian (m, free)."""
        began = time.process_time()
        single = self.single
        J = single.matrix
        if J is None:
            J = jacobian(single.forward, single.whole(torch.from_numpy(free))[None], single.problem.m)[0]
        out: np.ndarray = (J / single.weight[:, None])[:, single.free].numpy()
        self.inside_s += time.process_time() - began
        return out


@dataclass(frozen=True)
class Peer:
    """A solver of others: takes a residual and free unknowns to start from, returns the free unknowns it ends at."""

    name: str
    solve: Callable[[Residual, Tensor], Tensor]
    stop: bool = True


@dataclass(frozen=True)
class Solved:
    """A peer on all items, and the share of its time that went into f and its Jacobian."""

    measured: Measured
    inside: float


def solved_by(peer: Peer, single: Single, items: Items) -> Solved:
    """Every item (N) on its own; the answers are projected onto C before they are judged."""
    residuals = [Residual(single, row, peer.stop) for row in items.y]
    bar = tqdm(residuals, desc=f"{single.problem.name}, {peer.name}", mininterval=1.0)
    answers, seconds = cpu_timed(lambda: [_answer(peer, residual) for residual in bar])
    x = single.problem.constraint.project(torch.stack(answers))
    rms = ((single.forward(x) - items.y) / single.weight).square().mean(1).sqrt()
    measured = Measured(
        peer.name,
        x,
        # What stopped exactly at the tolerance must not fail for a last bit of another order of sums.
        rms <= single.tolerance * (1.0 + 1e-9),
        at_noise_level(single.problem, x, items.y),
        torch.tensor([residual.evaluations for residual in residuals]),
        seconds,
    )
    return Solved(measured, sum(residual.inside_s for residual in residuals) / seconds)


def _answer(peer: Peer, residual: Residual) -> Tensor:
    single = residual.single
    try:
        return single.whole(peer.solve(residual, single.start[single.free]))
    except Reached:
        return residual.best


def _scipy(method: str) -> Callable[[Residual, Tensor], Tensor]:
    def solve(residual: Residual, start: Tensor) -> Tensor:
        single = residual.single
        bounds = (single.lower[single.free].numpy(), single.upper[single.free].numpy())
        found = least_squares(
            residual.values,
            start.numpy(),
            jac=residual.derivatives,
            bounds=bounds if method == "trf" else (-np.inf, np.inf),
            method=method,
            x_scale=np.array(single.problem.scale)[single.free.numpy()],
            max_nfev=MOST_EVALUATIONS,
        )
        return torch.from_numpy(found.x)

    return solve


def _pytorch_minimize(residual: Residual, start: Tensor) -> Tensor:
    single = residual.single

    def timed_residual(free: Tensor) -> Tensor:
        began = time.process_time()
        try:
            return residual.tensor(free)
        finally:
            residual.inside_s += time.process_time() - began

    found: Tensor = torch_least_squares(
        timed_residual,
        start,
        x_scale=torch.tensor(single.problem.scale, dtype=torch.float64)[single.free],
        tr_solver="exact",
        max_nfev=MOST_EVALUATIONS,
    ).x
    return found.detach()


PEERS = (
    Peer("scipy lm", _scipy("lm")),
    Peer("scipy trf", _scipy("trf")),
    Peer("scipy lm, own stop", _scipy("lm"), stop=False),
    Peer("scipy trf, own stop", _scipy("trf"), stop=False),
    Peer("pytorch-minimize trf", _pytorch_minimize),
)
