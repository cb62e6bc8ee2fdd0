"""Ways in which an observation can leave the training range: sensor faults, and physics that is not the model's."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from physics.heat1d import STEPS, Propagator
from physics.problem import Problem

Shift = Callable[["Draw"], Tensor]


@dataclass(frozen=True)
class Draw:
    """Items to spoil: unknowns x (B, n), noiseless clean (B, m), and where randomness comes from."""

    problem: Problem
    x: Tensor
    clean: Tensor
    generator: Generator

    def noise(self) -> Tensor:
        """Fresh sensor noise (B, m), other at each call."""
        return self.problem.noise_std * self.normal(self.clean.shape[1])

    def normal(self, width: int) -> Tensor:
        """Standard normal (B, width)."""
        return torch.randn(len(self.clean), width, generator=self.generator, dtype=self.clean.dtype)

    def uniform(self) -> Tensor:
        """Uniform on [0, 1), (B, 1)."""
        return torch.rand(len(self.clean), 1, generator=self.generator, dtype=self.clean.dtype)

    def sign(self) -> Tensor:
        """+1 or -1, (B, 1)."""
        return 1.0 - 2.0 * (self.uniform() < 0.5).to(self.clean)


def _noisier(draw: Draw) -> Tensor:
    return draw.clean + 3.0 * draw.noise()


def _spikes(draw: Draw) -> Tensor:
    y = draw.clean + draw.noise()
    at = torch.randint(0, y.shape[1], (len(y), 3), generator=draw.generator)
    return y.scatter_add(1, at, 10.0 * draw.problem.noise_std * draw.sign().expand(-1, 3))


def _stuck(draw: Draw) -> Tensor:
    """A quarter of the sensors, side by side, repeat the first one of them."""
    y = draw.clean + draw.noise()
    m = y.shape[1]
    width = m // 4
    first = torch.randint(0, m - width, (len(y), 1), generator=draw.generator)
    columns = torch.arange(m)
    inside = (columns >= first) & (columns < first + width)
    return torch.where(inside, y.gather(1, first), y)


def _offset(draw: Draw) -> Tensor:
    return draw.clean + draw.noise() + 10.0 * draw.problem.noise_std * draw.sign()


def _drift(draw: Draw) -> Tensor:
    ramp = torch.linspace(-0.5, 0.5, draw.clean.shape[1], dtype=draw.clean.dtype)
    return draw.clean + draw.noise() + 20.0 * draw.problem.noise_std * draw.sign() * ramp


def _louder(draw: Draw) -> Tensor:
    return 1.7 * draw.clean + draw.noise()


def _cubed(draw: Draw) -> Tensor:
    peak = draw.clean.abs().amax(1, keepdim=True).clamp_min(1e-12)
    return draw.clean**3 / peak**2 + draw.noise()


def _unseen_damping(draw: Draw) -> Tensor:
    """c uniform in [1, 3] kg/s, where training has [0, 1]."""
    x = draw.x.clone()
    x[:, 1:2] = 1.0 + 2.0 * draw.uniform()
    return draw.problem.forward(x) + draw.noise()


def _diffused(factor: float) -> Shift:
    propagate = Propagator(64, int(factor * STEPS))
    return lambda draw: propagate(draw.x) + draw.noise()


def shifts_of(problem: Problem) -> dict[str, Shift]:
    """The families that make sense for a problem; magnitudes are in their names."""
    families: dict[str, Shift] = {
        "noise x3": _noisier,
        "3 spikes of 10 noise": _spikes,
        "a quarter stuck": _stuck,
        "offset of 10 noise": _offset,
        "linear drift of 20 noise": _drift,
        "amplitude x1.7": _louder,
        "cubed signal": _cubed,
    }
    if problem.name == "oscillator":
        families["unseen damping"] = _unseen_damping
    if problem.name == "heat1d":
        families |= {"diffusion time x2": _diffused(2.0), "diffusion time x0.5": _diffused(0.5)}
    return families
