"""What a checkpoint knows of in-range items: ranks for verdicts, moments for scores, factors for error bars."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trust.moments import Observed, Spread
from trust.ranks import Ranks
from trust.scores import QUESTIONS, SCORES
from trust.uncertainty import Prior

WHOLE_UP_TO = 128  # observed values up to which the whitener is stored as it is
COLUMNS = tuple(tuple(SCORES.index(name) for name in names) for names in QUESTIONS)


@dataclass(frozen=True)
class Calibration:
    """What a checkpoint knows of in-range items.

    Attributes:
        ranks: of the scores in the order of SCORES.
        observed, spread: moments of the training items.
        prior: how the training unknowns vary, for error bars.
        interval_factor: (n,), scales the modelled standard deviation so that +-1.645 of it covers 90 %.
    """

    ranks: Ranks
    observed: Observed
    spread: Spread
    prior: Prior
    interval_factor: Tensor

    @property
    def scores(self) -> Tensor:
        """Of the calibration items (N, S), each column ascending."""
        return self.ranks.scores

    def p_values(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Per-score p-values (B, S) and the combined one (B,) of scores (B, S)."""
        return self.ranks.p_values(scores)

    def quantiles(self) -> dict[str, dict[str, float]]:
        """Median, 95 % and 99 % of every score on the calibration set."""
        levels = torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64)
        table = torch.quantile(self.scores, levels, dim=0)
        return {
            name: dict(zip(("median", "p95", "p99"), table[:, i].tolist(), strict=True))
            for i, name in enumerate(SCORES)
        }

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {
            "scores": self.ranks.scores,
            "strangest": self.ranks.strangest,
            "combined": self.ranks.combined,
            "observed_mean": self.observed.mean,
            "observed_whitener": _packed(self.observed.whitener),
            "spread_mean": self.spread.mean,
            "spread_std": self.spread.std,
            "spread_typical": self.spread.typical,
            "unknown_covariance": self.prior.covariance,
            "unknown_draws": self.prior.draws,
            "interval_factor": self.interval_factor,
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Calibration":
        """From a checkpoint; raises KeyError when a tensor, or a score that was added since, is missing."""
        if tensors["scores"].shape[1] != len(SCORES):
            raise KeyError(f"scores: {tensors['scores'].shape[1]} where this version has {len(SCORES)}")
        return cls(
            Ranks(tensors["scores"], tensors["strangest"], tensors["combined"], COLUMNS),
            Observed(tensors["observed_mean"], _unpacked(tensors["observed_whitener"])),
            Spread(tensors["spread_mean"], tensors["spread_std"], tensors["spread_typical"]),
            Prior(tensors["unknown_covariance"], tensors["unknown_draws"]),
            tensors["interval_factor"],
        )


def _packed(whitener: Tensor) -> Tensor:
    """A large triangular factor (m, m) as float32 without its zeros, (m (m + 1) / 2,): a quarter of its size."""
    m = len(whitener)
    if m <= WHOLE_UP_TO:
        return whitener
    return whitener[*torch.tril_indices(m, m)].float()


def _unpacked(stored: Tensor) -> Tensor:
    if stored.ndim == 2:
        return stored
    m = math.isqrt(2 * len(stored))
    whitener = torch.zeros(m, m, dtype=torch.float64)
    whitener[*torch.tril_indices(m, m)] = stored.double()
    return whitener
