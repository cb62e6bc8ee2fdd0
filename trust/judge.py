"""A model with its calibration: from answers to scores, p-values and error bars."""

from dataclasses import dataclass

from torch import Tensor

from models.engine import Tensors
from models.registry import LoadedModel
from solvers.method import Objective
from trust.calibration import Calibration
from trust.scores import Scored, Scorer
from trust.uncertainty import Uncertainty, model_uncertainty


@dataclass(frozen=True)
class Judge:
    """Judges the answers of one model."""

    loaded: LoadedModel
    calibration: Calibration
    scorer: Scorer

    @classmethod
    def of(cls, loaded: LoadedModel, inspection: Tensors | None = None) -> "Judge":
        """Of a model from the registry; raises KeyError when its calibration lacks something.

        Args:
            inspection: another engine's `models.composition.Inspection` of the model.
        """
        calibration = Calibration.from_tensors(loaded.calibration)
        scorer = Scorer(loaded.problem, loaded.deceptron, calibration.observed, calibration.spread, inspection)
        return cls(loaded, calibration, scorer)

    def score(self, objective: Objective, x: Tensor, fit: Tensor, observation: Tensor) -> Scored:
        """The scores of reconstructions x (B, n) with fits (B, m) to observations (B, m)."""
        return self.scorer.score(objective, x, fit, observation)

    def uncertainty(self, scored: Scored, x: Tensor, fit: Tensor) -> Uncertainty:
        """Error bars, scaled to cover 90 % of in-range items at +-1.645 std, and the resolution, of scored answers."""
        noise_std = self.loaded.problem.noise_std
        modelled = model_uncertainty(self.scorer.inspector, scored.inspected, self.calibration.prior, noise_std, x, fit)
        return Uncertainty(modelled.std * self.calibration.interval_factor.to(modelled.std), modelled.resolution)
