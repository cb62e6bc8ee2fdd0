"""How strange an answer looks: one number per item and question, larger meaning stranger.

rjcp, rjcp_observed, jacobian_jump   the learned inverse at the fit and at the observation (trust/jacobians.py)
step_disagreement          rms((g(y*) - x^) / scale)      how far solving had to go from the one-shot answer
residual_to_noise          rms(f(x^) - y*) / noise
physics_residual_to_noise  rms(F(x^) - y*) / noise        F the true physics; the same figure where f is F
residual_trend             rms of (F(x^) - y*) / noise along the slowest modes of the sensors' grid
mahalanobis                (y* - mean)^T Cov^-1 (y* - mean) under the training observations
baseline                   the part of mahalanobis that an offset and a tilt of all sensors would explain
stillness                  noise over the changes in the stillest stretch of y*
unknown_oddness            t - 1 - log t, t the mean of ((q - mean) / std)^2 over its usual value, q what the data
                           can determine of x^
active_bounds              how many bounds hold x^ back
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.deceptron import Deceptron
from models.engine import Tensors
from physics.problem import Problem
from solvers.method import Objective
from trust.jacobians import Inspected, Inspector
from trust.moments import Observed, Spread
from trust.observation import offset_and_tilts, stillness, trend

SCORES = (
    "rjcp",
    "rjcp_observed",
    "jacobian_jump",
    "step_disagreement",
    "residual_to_noise",
    "physics_residual_to_noise",
    "residual_trend",
    "mahalanobis",
    "baseline",
    "stillness",
    "unknown_oddness",
    "active_bounds",
)
QUESTIONS = (
    # Does the answer's fit agree with the observation, and the observation with itself?
    (
        "jacobian_jump",
        "step_disagreement",
        "residual_to_noise",
        "physics_residual_to_noise",
        "residual_trend",
        "mahalanobis",
        "baseline",
        "stillness",
    ),
    # Is the answer one that the model knows?
    ("rjcp", "rjcp_observed", "unknown_oddness", "active_bounds"),
)
NO_STEP = 1e-3  # in units of scale: less than this is rounding


@dataclass(frozen=True)
class Scored:
    """Scores (B, S) in the order of SCORES, float64, and what the Jacobians said."""

    scores: Tensor
    inspected: Inspected


@dataclass(frozen=True)
class Scorer:
    """A model, and the training items' moments, ready to score answers.

    ``inspection`` is another engine's `models.composition.Inspection` of it, where there is one.
    """

    problem: Problem
    deceptron: Deceptron
    observed: Observed
    spread: Spread
    inspection: Tensors | None = None

    @cached_property
    def inspector(self) -> Inspector:
        """f and g, with what of their Jacobians is constant."""
        model = self.deceptron
        scale = torch.tensor(self.problem.scale).to(model.x_scale)
        jacobians = (model.jacobian_f, model.jacobian_g)
        return Inspector(model.f, model.g, scale, model.y_scale, *jacobians, model.affine, self.inspection)

    @cached_property
    def _baseline(self) -> Tensor:
        return self.observed.basis(offset_and_tilts(self._grid))

    def score(self, objective: Objective, x: Tensor, fit: Tensor, observation: Tensor) -> Scored:
        """Scores reconstructions x (B, n) with fits f(x) (B, m) against observations (B, m)."""
        inspected = self.inspector.inspect(x, fit, observation)
        noise_std = self.problem.noise_std
        residual = (fit - observation).double() / noise_std
        true = residual if self._is_physics else (self.problem.forward(x) - observation).double() / noise_std
        one_shot = objective.constraint.project(objective.inverse(observation))
        step = ((one_shot - x) / objective.scale).double().square().mean(1).sqrt()
        whitened = self.observed.whitened(observation)
        columns = (
            step.clamp_min(NO_STEP),
            residual.square().mean(1).sqrt(),
            true.square().mean(1).sqrt(),
            trend(true, self._grid),
            whitened.square().sum(1),
            (whitened @ self._baseline.to(whitened.device)).square().sum(1),
            stillness(observation, noise_std),
            self.spread.oddness(determined(self.problem, x.double())),
            objective.constraint.active(x).double(),
        )
        return Scored(torch.cat([inspected.scores.double(), torch.stack(columns, dim=1)], dim=1), inspected)

    @property
    def _grid(self) -> tuple[int, ...]:
        return self.problem.observation.grid or (self.problem.m,)

    @property
    def _is_physics(self) -> bool:
        return self.deceptron.config.forward == "physics"


def determined(problem: Problem, x: Tensor) -> Tensor:
    """What the data can determine of x (B, n)."""
    return x if problem.identifiable is None else problem.identifiable.of(x)
