"""The training loss: seven terms of arXiv 2511.21076, and two that train g where the solver will use it.

In normalised x and y; y~ = y + noise; reconstruction takes the noisy y~ where the recipe is noise-aware:

    task            ||f(x) - y||^2                        reconstruction  ||g(y~) - x||^2, or g(f(x))
    cycle           ||f(g(y~)) - y~||^2                   spectral        ||W^T W - I||_F^2
    tie             ||b + c||^2, or ||b||^2 + ||c||^2     composition     ||V W - I||_F^2
    jcp             E ||J_g(f(x)) J_f(x) xi - xi||^2      contraction     log(1 + q) + 2.5 min(q, 4)
    unroll          log(1 + q_k)

Contraction takes x near the truth, makes one anchored D-IPG step towards the noisy observation and penalises

    q = ||f(x+) - y||^2 / (||f(x) - y||^2 + noise^2 / 4),   y noiseless:

without it the anchored form stalls on nonlinear problems, whatever the weight of JCP. Unroll goes the solver's own way,

    x_0 = P(g(y~)),   x_k+1 = P(x_k + g(y~) - g(f(x_k))),   q_k = ||f(x_k+1) - y||^2 / (noise^2 / 4),

for a random number k of steps that nothing is learned from, and one that is: where many unknowns lie on the edge of C,
what the projection P makes of a step decides whether the next one helps.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.composition import Composition, rademacher
from models.deceptron import Deceptron
from physics.problem import Problem
from training.recipes import Recipe

OFFSET_RANGE = (0.003, 0.3)  # how far from the truth contraction starts, in units of the unknowns' scale
SLACK = 0.1  # how far outside the training range a step may land before it is cut, in the same units


@dataclass(frozen=True)
class Batch:
    """Rows of the training items in the model's dtype: x (B, n), noiseless clean (B, m), noisy y (B, m)."""

    x: Tensor
    clean: Tensor
    y: Tensor


@dataclass(frozen=True)
class Losses:
    """Computes the terms of a recipe for a Deceptron; all randomness comes from the generator handed in."""

    problem: Problem
    recipe: Recipe
    deceptron: Deceptron
    scale: Tensor
    probe_factor: Tensor
    lowest: Tensor
    highest: Tensor

    @classmethod
    def of(cls, problem: Problem, recipe: Recipe, deceptron: Deceptron, x: Tensor) -> "Losses":
        """Prepares probes and ranges from the training unknowns x (N, n)."""
        scale = torch.tensor(problem.scale, dtype=torch.float64)
        covariance = torch.cov((x / scale).T).reshape(problem.n, problem.n)
        values, vectors = torch.linalg.eigh(covariance)
        factor = vectors * (values.clamp_min(0) * problem.n / values.sum()).sqrt()
        like = deceptron.x_scale
        slack = SLACK * scale
        return cls(
            problem,
            recipe,
            deceptron,
            scale.to(like),
            factor.to(like),
            (x.amin(0) - slack).to(like),
            (x.amax(0) + slack).to(like),
        )

    def terms(self, batch: Batch, names: frozenset[str], generator: Generator) -> dict[str, Tensor]:
        """The named terms, each a scalar."""
        return {name: getattr(self, f"_{name}")(batch, generator) for name in sorted(names)}

    def _task(self, batch: Batch, generator: Generator) -> Tensor:
        return ((self.deceptron.f(batch.x) - batch.y) / self.deceptron.y_scale).square().mean()

    def _reconstruction(self, batch: Batch, generator: Generator) -> Tensor:
        y = batch.y if self.recipe.noise_aware else self.deceptron.f(batch.x)
        return ((self.deceptron.g(y) - batch.x) / self.deceptron.x_scale).square().mean()

    def _cycle(self, batch: Batch, generator: Generator) -> Tensor:
        y = batch.y + self.problem.noise_std * _normal(batch.y, generator)
        return ((self.deceptron.f(self.deceptron.g(y)) - y) / self.deceptron.y_scale).square().mean()

    def _spectral(self, batch: Batch, generator: Generator) -> Tensor:
        return _summed([_from_identity(layer.W.T @ layer.W) for layer in self.deceptron.layers()], batch.x)

    def _tie(self, batch: Batch, generator: Generator) -> Tensor:
        terms = [
            (layer.b + layer.c).square().sum()
            if len(layer.b) == len(layer.c)
            else layer.b.square().sum() + layer.c.square().sum()
            for layer in self.deceptron.layers()
        ]
        return _summed(terms, batch.x)

    def _composition(self, batch: Batch, generator: Generator) -> Tensor:
        return _summed([_from_identity(layer.V @ layer.W) for layer in self.deceptron.layers()], batch.x)

    def _jcp(self, batch: Batch, generator: Generator) -> Tensor:
        composition = Composition(self.deceptron.f, self.deceptron.g, self.scale)
        errors = [
            composition.error(batch.x, self._probe(batch.x, generator)).square().mean()
            for _ in range(self.recipe.probe_count)
        ]
        return torch.stack(errors).mean()

    def _probe(self, x: Tensor, generator: Generator) -> Tensor:
        if self.recipe.probes == "rademacher":
            return rademacher(tuple(x.shape), generator, x)
        xi = _normal(x, generator)
        return xi @ self.probe_factor.T if self.recipe.probes == "covariance" else xi

    def _contraction(self, batch: Batch, generator: Generator) -> Tensor:
        low, high = (math.log(value) for value in OFFSET_RANGE)
        size = torch.exp(low + (high - low) * torch.rand(len(batch.x), 1, generator=generator).to(batch.x))
        # Offsets follow the prior's own shapes, so that a perturbed x is still a possible one.
        offset = size * self.scale * (_normal(batch.x, generator) @ self.probe_factor.T)
        x = self.problem.constraint.project(batch.x + offset)
        fx = self.deceptron.f(x)
        stepped = x + self.deceptron.g(batch.y) - self.deceptron.g(fx)
        after = self._misfit(stepped.clamp(self.lowest, self.highest), batch.clean)
        before = (fx - batch.clean).square().mean(1) + self.problem.noise_std**2 / 4.0
        q = after / before
        return (torch.log1p(q) + 2.5 * q.clamp(max=4.0)).mean()

    def _unroll(self, batch: Batch, generator: Generator) -> Tensor:
        before = int(torch.randint(0, self.recipe.unroll_steps, (1,), generator=generator))
        anchor = self.deceptron.g(batch.y)
        with torch.no_grad():
            x = self.problem.constraint.project(anchor)
            for _ in range(before):
                x = self._stepped(x, self.deceptron.f(x), anchor)
            fx = self.deceptron.f(x)
        after = self._misfit(self._stepped(x, fx, anchor), batch.clean)
        return torch.log1p(after / (self.problem.noise_std**2 / 4.0)).mean()

    def _stepped(self, x: Tensor, fx: Tensor, anchor: Tensor) -> Tensor:
        """The anchored step in full, as the solver takes it; anchor is g(y~)."""
        return self.problem.constraint.project(x + anchor - self.deceptron.g(fx))

    def _misfit(self, x: Tensor, clean: Tensor) -> Tensor:
        return (self.deceptron.f(x) - clean).square().mean(1)


def _from_identity(A: Tensor) -> Tensor:
    return (A - torch.eye(len(A), dtype=A.dtype, device=A.device)).square().sum()


def _summed(terms: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(terms).sum() if terms else like.new_zeros(())


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)
