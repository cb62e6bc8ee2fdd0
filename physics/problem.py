"""A physical problem: the forward map, what is unknown, what is observed, and the set the unknown lives in."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from physics.constraints import Constraint

ENTRY_POINT_GROUP = "deceptron.problems"

PROBLEMS: dict[str, str] = {
    "heat1d": "physics.heat1d:PROBLEM",
    "oscillator": "physics.oscillator:PROBLEM",
    "heat1d_nonlinear": "physics.heat1d_nonlinear:PROBLEM",
    "heat3d": "physics.heat3d:PROBLEM",
    "allen_cahn2d": "physics.allen_cahn2d:PROBLEM",
}
"""Problem name -> ``module:attribute``. Installed packages add their own under the entry point group above."""


@dataclass(frozen=True)
class Quantity:
    """What one side of the problem is made of: names and units for people, an axis for plots.

    ``components`` names each value where they differ in kind (m, c, k, ...); ``axis`` gives the coordinate of each
    value where they sample one function (position, time); ``grid`` is the shape that the values fill, last index
    fastest, where they sample a function of several variables.
    """

    name: str
    size: int
    unit: str = "1"
    components: tuple[str, ...] = ()
    component_units: tuple[str, ...] = ()
    axis: tuple[float, ...] = ()
    axis_label: str = ""
    grid: tuple[int, ...] = ()


@dataclass(frozen=True)
class Identifiable:
    """Functions of the unknown that the data can determine: ``of`` maps x (B, n) to (B, q)."""

    names: tuple[str, ...]
    of: Callable[[Tensor], Tensor]
    units: tuple[str, ...] = ()


@runtime_checkable
class Derivatives(Protocol):
    """What a forward map may have beside its call: its derivatives in closed form, quicker than autograd."""

    def adjoint(self, x: Tensor, v: Tensor) -> Tensor:
        """J(x)^T v, (B, n), at x (B, n) for v (B, m)."""
        ...

    def jacobian(self, x: Tensor) -> Tensor:
        """J(x), (B, m, n)."""
        ...


@dataclass(frozen=True)
class Problem:
    """A forward map x (B, n) -> y (B, m) in physical units, with everything the solvers and trainers need to know.

    Attributes:
        forward: differentiable in torch, batched over the leading dimension, float32 and float64 alike; if it also has
            Derivatives, the solvers use them.
        sample: draws x (B, n) in float64 from the prior; all randomness comes from the generator.
        noise_std: standard deviation of the sensor noise, in the unit of y.
        constraint: the set C that every reconstruction lies in.
        start: x (n,) from which methods without a learned inverse start.
        scale: typical size (n,) of each unknown; composition errors and damping are measured in it.
        identifiable: what the data can determine, where that is less than x itself.
    """

    name: str
    title: str
    forward: Callable[[Tensor], Tensor]
    sample: Callable[[int, Generator], Tensor]
    noise_std: float
    constraint: Constraint
    start: tuple[float, ...]
    scale: tuple[float, ...]
    unknown: Quantity
    observation: Quantity
    identifiable: Identifiable | None = None
    source: str = ""

    @property
    def n(self) -> int:
        """Number of unknowns."""
        return self.unknown.size

    @property
    def m(self) -> int:
        """Number of observed values."""
        return self.observation.size

    def simulate(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draws (x, noiseless y), shapes (count, n) and (count, m), float64."""
        x = self.sample(count, generator)
        return x, self.forward(x)

    def observe(self, y: Tensor, generator: Generator) -> Tensor:
        """Adds sensor noise to y (B, m)."""
        return y + self.noise_std * torch.randn(y.shape, generator=generator, dtype=y.dtype)


class UnknownProblem(KeyError):
    """No problem of that name in the table, nor under the entry point group."""

    def __str__(self) -> str:
        return str(self.args[0])


def load_problem(name: str) -> Problem:
    """Finds a problem by name: the built-in table first, then entry points. A name is never itself a path to code.

    Raises:
        UnknownProblem: nothing is registered under that name.
        TypeError: what is registered is not a Problem.
    """
    target = PROBLEMS.get(name) or next(
        (e.value for e in entry_points(group=ENTRY_POINT_GROUP) if e.name == name), None
    )
    if target is None:
        known = sorted({*PROBLEMS, *(e.name for e in entry_points(group=ENTRY_POINT_GROUP))})
        raise UnknownProblem(f"no problem named {name!r}; known are {', '.join(known)}")
    module, _, attribute = target.partition(":")
    problem = getattr(import_module(module), attribute)
    if not isinstance(problem, Problem):
        raise TypeError(f"{name!r} is registered as {target}, which is a {type(problem).__name__}, not a Problem")
    return problem
