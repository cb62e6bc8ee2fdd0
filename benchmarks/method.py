"""The figures that explain the method: one step along every curve, many steps, and an answer with its error bars."""

import torch
from torch import Tensor

from benchmarks.charts import Figure, Panel, Series
from models.registry import LoadedModel, Registry
from service.inference import Inference, SolveSpec
from solvers.dipg import DIPG
from solvers.gauss_newton import GaussNewton
from solvers.gradient import BarzilaiBorwein
from solvers.method import Iterate, Method, Objective
from solvers.plans import GN_RIDGE, noise_level, objective_for

SEED, ITEMS, STEPS = 7, 400, 61
CURVES: dict[str, Method] = {
    "dipg as published": DIPG(anchored=False),
    "dipg": DIPG(anchored=True),
    "gn": GaussNewton(GN_RIDGE),
    "gd": BarzilaiBorwein(),
}


def figures(registry: Registry) -> list[Figure]:
    """All figures of docs/method.md."""
    return [curves_figure(registry.load("oscillator")), answer_figure(registry)]


def observations(loaded: LoadedModel, count: int) -> tuple[Tensor, Tensor]:
    """(x, y): unknowns and noisy observations, drawn from a generator of this page's own."""
    generator = torch.Generator().manual_seed(SEED)
    x, clean = loaded.problem.simulate(count, generator)
    return x, loaded.problem.observe(clean, generator)


def along_curves(loaded: LoadedModel, count: int = ITEMS) -> tuple[Tensor, dict[str, Tensor]]:
    """alpha (T,), and for every method the residual over noise (N, T) along its curve from the one-shot answer.

    Where a curve leaves the constraint it is projected, as the line search would.
    """
    objective = objective_for("product", loaded.problem, loaded.deceptron)
    observed = observations(loaded, count)[1].to(objective.scale)
    alpha = torch.linspace(0.0, 1.5, STEPS).to(objective.scale)
    start = objective.constraint.project(objective.inverse(observed))
    at = Iterate.at(objective, start, observed)
    return alpha, {name: _along(objective, method, at, observed, alpha) for name, method in CURVES.items()}


def _along(objective: Objective, method: Method, at: Iterate, observed: Tensor, alpha: Tensor) -> Tensor:
    memory = method.begin(objective, at.x, lambda: objective.inverse(observed))
    curve = method.propose(objective, at, memory).curve
    columns = []
    for step in alpha:
        x = objective.constraint.project(curve(step.expand(len(observed), 1)))
        columns.append((2.0 * objective.misfit(objective.forward(x) - observed)).sqrt())
    return torch.stack(columns, dim=1)


def curves_figure(loaded: LoadedModel) -> Figure:
    """Median residual along one step of every method."""
    alpha, residuals = along_curves(loaded)
    series = tuple(
        Series(name, tuple(alpha.tolist()), tuple(values.median(0).values.tolist()))
        for name, values in residuals.items()
    )
    level = (noise_level(loaded.problem.m), "noise level")
    panel = Panel("lines", "one step from g(y*)", "alpha", "median residual / noise", series, "y", level)
    return Figure("curves.png", f"{loaded.problem.name}: the residual of {ITEMS} items along one step.", (panel,))


def answer_figure(registry: Registry) -> Figure:
    """One reconstruction of heat1d with its 90 % intervals, the truth, and the observation."""
    inference = Inference(registry.root, device="cpu")
    loaded = inference.loaded("heat1d")
    x, y = observations(loaded, 1)
    item = inference.solve(SolveSpec("heat1d", loaded.manifest.version, ("auto",)), y.numpy())[0]
    axis, found = loaded.problem.unknown.axis, torch.from_numpy(item.x[0]).double()
    spread = 1.645 * torch.tensor(item.items[0]["diagnostics"]["std"]).double()
    series = (
        Series("auto", axis, *(tuple(v.tolist()) for v in (found, found - spread, found + spread))),
        Series("truth", axis, tuple(x[0].tolist())),
        Series("observation", loaded.problem.observation.axis, tuple(y[0].tolist())),
    )
    label = loaded.problem.unknown.axis_label or "position"
    panel = Panel("lines", "heat1d: an answer and its 90 % intervals", label, "temperature", series)
    return Figure("answer.png", "What diffusion has wiped out comes back as the prior's spread.", (panel,))
