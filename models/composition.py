"""The Jacobian composition J_g J_f: its distance from the identity is JCP in training and RJCP at solve time.

With R = J_g(y) J_f(x) in units of the unknowns' typical size, R_ij = (scale_j / scale_i) dg_i / dx_j, its error is

    E_xi ||R xi - xi||^2 / n = ||R - I||_F^2 / n   for probes with E[xi xi^T] = I   (Hutchinson),

the "mean" form; times n it is the paper's sum. y is f(x) in the published form; taken at the observation instead, it
sees shifts of the data that the published form does not. R is the model resolution matrix of Backus and Gilbert.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.func import jvp, vmap

EXACT_UP_TO = 64
"""Unknowns up to which the Jacobians are made explicit."""

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Composition:
    """v -> J_g(y) J_f(x) v, row by row, for maps f: (B, n) -> (B, m) and g back; ``scale`` (n,) is the unit of v."""

    f: Map
    g: Map
    scale: Tensor

    def push(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) and J_f(x) (scale * v); shapes (B, m)."""
        out: tuple[Tensor, Tensor] = jvp(self.f, (x,), (v * self.scale,))  # type: ignore[assignment]
        return out

    def pull(self, y: Tensor, tangent: Tensor) -> Tensor:
        """J_g(y) tangent / scale; (B, n)."""
        out: Tensor = jvp(self.g, (y,), (tangent,))[1]
        return out / self.scale

    def error(self, x: Tensor, v: Tensor) -> Tensor:
        """R v - v at y = f(x); differentiable in the parameters of f and g. (B, n)."""
        y, tangent = self.push(x, v)
        return self.pull(y, tangent) - v

    def resolution(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """R = J_g(y) J_f(x), exactly, by one tangent per unknown; y is f(x) unless given. (B, n, n)."""
        y_at = self.f(x) if y is None else y
        basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)

        def column(e: Tensor) -> Tensor:
            v = e.expand_as(x)
            return self.pull(y_at, self.push(x, v)[1])

        columns: Tensor = vmap(column)(basis)  # (n, B, n): entry [j, b, i] = R_ij of row b
        return columns.permute(1, 2, 0)


@dataclass(frozen=True)
class Inspection:
    """What the explicit Jacobians say of rows, as one function of tensors; an engine may have it as a graph.

    ``jacobian_f``: x (B, n) -> (B, m, n); ``jacobian_g``: y (B, m) -> (B, n, m); ``scale`` (n,) is the unit of the
    unknowns, ``y_scale`` (m,) that of the observed values.
    """

    jacobian_f: Map
    jacobian_g: Map
    scale: Tensor
    y_scale: Tensor

    def __call__(self, x: Tensor, fit: Tensor, observation: Tensor) -> tuple[Tensor, ...]:
        """||R - I||^2 / n with J_g at the fit and at the observation, the mean square of J_g's change between them
        (B,) each; J_g at the fit (B, n, m) per unit scale, and R there (B, n, n).
        """
        J_f = self.jacobian_f(x) * self.scale
        at_fit, at_data = (self.jacobian_g(y) / self.scale[:, None] for y in (fit, observation))
        R = at_fit @ J_f
        jump = ((at_data - at_fit) * self.y_scale).square().mean((1, 2))
        return error_from_resolution(R), error_from_resolution(at_data @ J_f), jump, at_fit, R


def rademacher(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """Probes of +-1."""
    return torch.randint(0, 2, shape, generator=generator).to(like).mul_(2.0).sub_(1.0)


def error_from_resolution(resolution: Tensor) -> Tensor:
    """||R - I||_F^2 / n per row: (B, n, n) -> (B,)."""
    eye = torch.eye(resolution.shape[-1], dtype=resolution.dtype, device=resolution.device)
    return (resolution - eye).square().sum((1, 2)) / resolution.shape[-1]


def estimate(composition: Composition, x: Tensor, probes: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Hutchinson estimate of ||R - I||_F^2 / n and its standard error, per row.

    Args:
        x: (B, n); y: where J_g is taken, (B, m), f(x) unless given.
        probes: (K, n), E[xi xi^T] = I; the same probes serve every row, so that a row's figure is its own.

    Returns:
        Estimate (B,) and standard error (B,), zero for a single probe.
    """
    y_at = composition.f(x) if y is None else y

    def of_probe(probe: Tensor) -> Tensor:
        v = probe.expand_as(x)
        return (composition.pull(y_at, composition.push(x, v)[1]) - v).square().mean(1)

    return mean_and_error(vmap(of_probe)(probes))


def mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B,) of values (K, B) over K and its standard error, zero for a single value; in float64."""
    values = values.double()
    spread = values.std(0) / len(values) ** 0.5 if len(values) > 1 else torch.zeros_like(values[0])
    return values.mean(0), spread
