"""Running methods under one protocol: same observations, rules and projector for all, every row kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.task import Task
from models.registry import LoadedModel
from physics.problem import Problem
from solvers.plans import Preset
from solvers.solve import Status
from training.data import Items, Split, draw
from training.evaluate import at_noise_level

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """One method on one set of items.

    Attributes:
        x: (N, n); converged, at_noise_level, iterations: (N,).
        seconds: of CPU time, in all; microseconds: per item by batch size, where that was measured.
    """

    method: str
    x: Tensor
    converged: Tensor
    at_noise_level: Tensor
    iterations: Tensor
    seconds: float
    microseconds: Mapping[int, float] = field(default_factory=dict)

    @property
    def microseconds_per_item(self) -> float:
        """CPU time over rows."""
        return 1e6 * self.seconds / len(self.x)


def held_out_items(problem: Problem, count: int, data_seed: int, repeat: int) -> Items:
    """Held-out items: the test split's own stream for repeat 0, further streams of it for the next ones."""
    return draw(problem, Split.TEST, count, data_seed + repeat)


def first(items: Items, count: int) -> Items:
    """The first items of a draw."""
    return Items(items.x[:count], items.clean[:count], items.y[:count])


def joined(draws: Sequence[Items]) -> Items:
    """Several draws as one."""
    x, clean, y = (torch.cat([getattr(items, name) for items in draws]) for name in ("x", "clean", "y"))
    return Items(x, clean, y)


def measure(loaded: LoadedModel, preset: Preset, method: str, items: Items, label: str = "") -> Measured:
    """Solves items by a named method as one batch."""
    return measured(label or method, Task.of(loaded, preset, method, items), loaded.problem, items)


def measured(label: str, task: Task, problem: Problem, items: Items) -> Measured:
    """Runs a task on all of its items as one batch; timed once warm."""
    task.warm_up()
    solution, seconds = cpu_timed(lambda: task.solve(slice(None)))
    return Measured(
        label,
        solution.x,
        solution.status == Status.CONVERGED,
        at_noise_level(problem, solution.x, items.y),
        solution.iterations,
        seconds,
    )


def estimate(problem: Problem, label: str, x: Tensor, items: Items, seconds: float = float("nan")) -> Measured:
    """A reconstruction that came from elsewhere, in the same form: no iterations of ours, no status of ours."""
    reached = at_noise_level(problem, x, items.y)
    return Measured(label, x, reached, reached, torch.zeros(len(x), dtype=torch.long), seconds)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result and the wall time in seconds."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def cpu_timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result and the CPU time in seconds, of all threads: what it costs, whatever else the machine does."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def rmse(a: Tensor, b: Tensor) -> float:
    """Root mean square over rows and components."""
    return (a.double() - b.double()).square().mean().sqrt().item()


def quartiles(values: Tensor) -> tuple[float, float, float]:
    """25 %, 50 % and 75 %."""
    levels = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    low, middle, high = torch.quantile(values.double(), levels).tolist()
    return low, middle, high
