"""Mass, damping, stiffness and initial state of a damped oscillator from its displacement: m x'' + c x' + k x = 0.

With a = c / 2m and w^2 = k / m - a^2 the displacement is (any textbook on vibrations)

    x(t) = e^{-a t} [ x0 C(t) + (v0 + a x0) S(t) ],   C = cos(w t),   S = sin(w t) / w,

cosh and sinh where w^2 < 0, a power series where w t is tiny. Only c/m, k/m, x0 and v0 are identifiable: scaling
(m, c, k) together changes nothing. Protocol: arXiv 2511.21076, section 4 (damped oscillator).
"""

import torch
from torch import Generator, Tensor

from physics.constraints import Box
from physics.problem import Identifiable, Problem, Quantity

LOWER = (0.5, 0.0, 0.5, -2.0, -2.0)  # m, c, k, x0, v0
UPPER = (2.0, 1.0, 5.0, 2.0, 2.0)
SAMPLES, DURATION_S = 64, 5.0
NOISE_STD = 0.01
SERIES_BELOW = 1e-3  # |w^2| t^2 under which the series is exact to float64 rounding at two terms more than needed
SLOPE_SERIES_BELOW = 0.5  # the same for the derivative of S, whose closed form cancels sooner


class Displacement:
    """(B, 5) = (m, c, k, x0, v0) -> displacement (B, 64) at 64 times on [0, 5] s, with its derivatives."""

    def __call__(self, parameters: Tensor) -> Tensor:
        """x(t), (B, 64)."""
        m, c, k, x0, v0 = parameters.split(1, dim=1)
        a = c / (2.0 * m)
        even, odd = _decaying_waves(a, k / m - a * a, _times(parameters))
        out: Tensor = x0 * even + (v0 + a * x0) * odd
        return out

    def jacobian(self, parameters: Tensor) -> Tensor:
        """(B, 64, 5), through a and w^2: with E = e^{-a t} C and O = e^{-a t} S,

        dE/da = -t E,   dO/da = -t O,   dE/dw^2 = -t O / 2,   dO/dw^2 = (t E - O) / (2 w^2)
        """
        t = _times(parameters)
        m, c, k, x0, v0 = parameters.split(1, dim=1)
        a = c / (2.0 * m)
        w2 = k / m - a * a
        even, odd = _decaying_waves(a, w2, t)
        speed = v0 + a * x0
        by_a = x0 * (odd - t * even) - speed * t * odd
        by_w2 = speed * _odd_by_w2(a, w2, t, even, odd) - 0.5 * x0 * t * odd
        by_m = (by_w2 * (2.0 * a * a - k / m) - by_a * a) / m
        by_c = (0.5 * by_a - a * by_w2) / m
        return torch.stack([by_m, by_c, by_w2 / m, even + a * odd, odd], dim=1).mT

    def adjoint(self, parameters: Tensor, v: Tensor) -> Tensor:
        """J^T v, (B, 5), for v (B, 64)."""
        return (v[:, None] @ self.jacobian(parameters))[:, 0]


displacement = Displacement()


def _times(like: Tensor) -> Tensor:
    return torch.linspace(0.0, DURATION_S, SAMPLES, dtype=like.dtype, device=like.device)


def _decaying_waves(a: Tensor, w2: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """e^{-a t} C(t) and e^{-a t} S(t) for a, w2 (B, 1) and t (m,); every branch stays finite so that gradients do."""
    z = w2 * t * t
    tiny = z.abs() < SERIES_BELOW
    under, over = (z > 0) & ~tiny, (z < 0) & ~tiny
    decay = torch.exp(-a * t)

    phase = torch.sqrt(torch.where(under, z, 1.0))
    even_under, odd_under = decay * torch.cos(phase), decay * t * torch.sin(phase) / phase

    growth = torch.sqrt(torch.where(over, -z, 1.0))
    rising, falling = torch.exp(growth - a * t), torch.exp(-growth - a * t)
    even_over, odd_over = 0.5 * (rising + falling), 0.5 * t * (rising - falling) / growth

    s = torch.where(tiny, z, 0.0)
    even_tiny = decay * (1.0 - s / 2.0 * (1.0 - s / 12.0 * (1.0 - s / 30.0 * (1.0 - s / 56.0))))
    odd_tiny = decay * t * (1.0 - s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0 * (1.0 - s / 72.0))))

    even = torch.where(under, even_under, torch.where(over, even_over, even_tiny))
    odd = torch.where(under, odd_under, torch.where(over, odd_over, odd_tiny))
    return even, odd


def _odd_by_w2(a: Tensor, w2: Tensor, t: Tensor, even: Tensor, odd: Tensor) -> Tensor:
    """d/dw^2 of e^{-a t} S(t); its closed form cancels near w t = 0, where the series takes over."""
    z = w2 * t * t
    near = z.abs() < SLOPE_SERIES_BELOW
    s = torch.where(near, z, 0.0)
    series = -1 / 6 + s * (1 / 60 - s * (1 / 1680 - s * (1 / 90720 - s * (1 / 7983360 - s / 1037836800))))
    away = (t * even - odd) / (2.0 * torch.where(near, 1.0, w2))
    return torch.where(near, torch.exp(-a * t) * t**3 * series, away)


def identifiable(parameters: Tensor) -> Tensor:
    """(B, 5) -> (c/m, k/m, x0, v0) (B, 4)."""
    m, c, k, x0, v0 = parameters.split(1, dim=1)
    return torch.cat([c / m, k / m, x0, v0], dim=1)


def sample(count: int, generator: Generator) -> Tensor:
    """Uniform in the ranges above: (count, 5), float64."""
    lower, upper = torch.tensor(LOWER, dtype=torch.float64), torch.tensor(UPPER, dtype=torch.float64)
    return lower + (upper - lower) * torch.rand(count, len(LOWER), generator=generator, dtype=torch.float64)


PROBLEM = Problem(
    name="oscillator",
    title="Mass, damping, stiffness and initial state of a damped oscillator",
    forward=displacement,
    sample=sample,
    noise_std=NOISE_STD,
    constraint=Box(LOWER, UPPER),
    start=tuple((low + high) / 2 for low, high in zip(LOWER, UPPER, strict=True)),
    scale=tuple(high - low for low, high in zip(LOWER, UPPER, strict=True)),
    unknown=Quantity(
        "oscillator parameters",
        5,
        components=("m", "c", "k", "x0", "v0"),
        component_units=("kg", "kg/s", "N/m", "m", "m/s"),
    ),
    observation=Quantity(
        "displacement",
        SAMPLES,
        "m",
        axis=tuple(DURATION_S * i / (SAMPLES - 1) for i in range(SAMPLES)),
        axis_label="time in s",
    ),
    identifiable=Identifiable(("c/m", "k/m", "x0", "v0"), identifiable, units=("1/s", "1/s²", "m", "m/s")),
    source="arXiv 2511.21076, damped oscillator: 64 samples on [0, 5] s",
)
