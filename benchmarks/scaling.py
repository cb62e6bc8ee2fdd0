"""``deceptron bench scaling``: what one step costs as the problem and the batch grow, and the fitted exponents."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from benchmarks.charts import Figure, Panel, Series
from benchmarks.report import Report, significant
from benchmarks.setup import Setup, one_thread
from benchmarks.timing import seconds_per_step
from physics.heat1d import heat1d
from physics.problem import Problem
from solvers.dipg import DIPG
from solvers.gauss_newton import ConjugateGradient, GaussNewton, LevenbergMarquardt
from solvers.method import Method, Objective
from solvers.plans import rules_for

SIZES = (32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64, 256, 1024, 4096, 16_384)
BATCH_AT_N = 64
CAP_S = 3.0  # a method whose step took longer is not tried on anything larger
FITTED = 3  # sizes, the largest, that an exponent is fitted to: below them calls cost more than arithmetic
RIDGE = 1e-4

METHODS: dict[str, Method] = {
    "dipg": DIPG(),
    "gn": GaussNewton(),
    "lm": LevenbergMarquardt(),
    "gn, CG": GaussNewton(linear_solver=ConjugateGradient()),
    "lm, CG": LevenbergMarquardt(linear_solver=ConjugateGradient()),
}


@dataclass(frozen=True)
class Cell:
    """One step of a method on ``batch`` rows of n unknowns, in seconds; None where it was not tried."""

    method: str
    n: int
    batch: int
    seconds: float | None

    @property
    def microseconds_per_item(self) -> float | None:
        """Per row."""
        return None if self.seconds is None else 1e6 * self.seconds / self.batch


@one_thread()
def run(setup: Setup) -> Report:
    """Cost against n at batch 1, and against batch at n = 64."""
    report = Report("scaling", setup.command("scaling"))
    report.text(
        "CPU time of one step on `heat1d(n)`, f the physics (one dense product, so O(n²) for D-IPG is the best there "
        "is), float32, from the prior mean under the rules of `product`. g is the damped pseudoinverse of that "
        "matrix, not trained: training changes its values, and with them the number of steps, but not what a step "
        f"costs. Medians of repeats; exponents by least squares in log-log through the {FITTED} largest measured, "
        f"since below them the cost of calling PyTorch hides that of arithmetic. '-': not tried, the size before "
        f"took over {CAP_S:g} s a step."
    )
    sizes, batches = ((32, 64), (1, 16)) if setup.quick else (SIZES, BATCHES)
    by_n = _grid([(n, 1) for n in sizes], setup.budget_s)
    by_batch = _grid([(BATCH_AT_N, batch) for batch in batches], setup.budget_s)
    for cell in (*by_n, *by_batch):
        report.keep_rows(method=cell.method, n=cell.n, batch=cell.batch, seconds=cell.seconds, dtype="float32")
    _table(report, "One step against n, batch 1, µs per item", "n", sizes, by_n)
    _table(report, f"One step against batch, n = {BATCH_AT_N}, µs per item", "batch", batches, by_batch)
    report.figure(_figure(by_n, by_batch))
    return report


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost ~ size^p, by least squares in log-log; two sizes at least."""
    u, v = (torch.tensor([math.log(each) for each in values], dtype=torch.float64) for values in (sizes, costs))
    u, v = u - u.mean(), v - v.mean()
    return float((u @ v) / (u @ u))


def _grid(shapes: Sequence[tuple[int, int]], budget_s: float) -> list[Cell]:
    cells: list[Cell] = []
    over: set[str] = set()
    with tqdm(total=len(shapes) * len(METHODS), desc="scaling", mininterval=1.0) as bar:
        for n, batch in shapes:
            objective, observation, start = _setting(heat1d(n), batch)
            for name, method in METHODS.items():
                bar.set_postfix_str(f"n {n}, batch {batch}, {name}")
                seconds = None
                if name not in over:
                    seconds = seconds_per_step(objective, observation, start, method, rules_for("product", n), budget_s)
                if seconds is not None and seconds > CAP_S:
                    over.add(name)
                cells.append(Cell(name, n, batch, seconds))
                bar.update()
    return cells


def _setting(problem: Problem, batch: int) -> tuple[Objective, Tensor, Tensor]:
    """Objective with a linear g, observations (batch, n) and starts (batch, n), float32."""
    eye = torch.eye(problem.n, dtype=torch.float64)
    A = problem.forward(eye).T
    G = torch.linalg.solve(A.T @ A + RIDGE * eye, A.T).T.float()
    observation = problem.observe(*_drawn(problem, batch)).float()
    weight, scale = torch.full((problem.m,), problem.noise_std), torch.tensor(problem.scale)
    objective = Objective(problem.forward, lambda y: y @ G, problem.constraint, weight, scale)
    return objective, observation, torch.zeros(batch, problem.n)


def _drawn(problem: Problem, batch: int) -> tuple[Tensor, Generator]:
    generator = Generator().manual_seed(batch)
    return problem.simulate(batch, generator)[1], generator


def _table(report: Report, title: str, axis: str, sizes: Sequence[int], cells: Sequence[Cell]) -> None:
    rows = []
    for position, size in enumerate(sizes):
        of_size = cells[position * len(METHODS) : (position + 1) * len(METHODS)]
        costs = [cell.microseconds_per_item for cell in of_size]
        rows.append([str(size), *(_shown(cost) for cost in costs), _ratio(costs)])
    exponents = [f"{exponent(*_largest(axis, name, cells)):.2f}" for name in METHODS]
    rows.append(["exponent", *exponents, ""])
    report.table(title, [axis, *METHODS, "cheapest GN/LM over dipg"], rows)


def _shown(cost: float | None) -> str:
    return "-" if cost is None else significant(cost)


def _ratio(costs: Sequence[float | None]) -> str:
    """How many times the first cost the cheapest other one is."""
    others = [cost for cost in costs[1:] if cost is not None]
    return f"{min(others) / costs[0]:.1f}" if costs[0] is not None and others else "-"


def _largest(axis: str, method: str, cells: Sequence[Cell]) -> tuple[list[float], list[float]]:
    """Sizes and costs of a method's largest measured cells."""
    measured = [
        (float(cell.n if axis == "n" else cell.batch), cell.microseconds_per_item)
        for cell in cells
        if cell.method == method and cell.microseconds_per_item is not None
    ]
    sizes, costs = zip(*[(size, cost) for size, cost in measured if cost is not None][-FITTED:], strict=True)
    return list(sizes), list(costs)


def _figure(by_n: Sequence[Cell], by_batch: Sequence[Cell]) -> Figure:
    y_label = "one step, µs per item"
    return Figure(
        "scaling.png",
        "CPU time of one step per item: against the number of unknowns at batch 1, and against the batch at "
        f"n = {BATCH_AT_N}; one CPU process, float32. CG is the matrix-free solver.",
        (
            Panel("lines", "batch 1", "unknowns n", y_label, _series("n", by_n), "xy"),
            Panel("lines", f"n = {BATCH_AT_N}", "batch", y_label, _series("batch", by_batch), "xy"),
        ),
    )


def _series(axis: str, cells: Sequence[Cell]) -> tuple[Series, ...]:
    out = []
    for name in METHODS:
        measured = [cell for cell in cells if cell.method == name and cell.seconds is not None]
        x = tuple(float(cell.n if axis == "n" else cell.batch) for cell in measured)
        out.append(Series(name, x, tuple(cell.microseconds_per_item or 0.0 for cell in measured)))
    return tuple(out)
