"""Conformal calibration: what a score means is its rank among items that are known to be in range.

For calibration scores s_1..s_N, never trained on, the p-value of a new score s is (1 + #{s_i >= s}) / (N + 1): if the
new item is exchangeable with them, P(p <= a) <= a (Vovk, Gammerman and Shafer 2005). Fisher's sum -2 sum log p over the
scores is itself ranked among the calibration items' own sums, so the combined p-value holds whatever their dependence.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trust.scores import SCORES, Observed

TIE = 1e-3  # relative
WHOLE_UP_TO = 128  # observed values up to which the whitener is stored as it is


def conformal_p(calibration: Tensor, scores: Tensor) -> Tensor:
    """p-values (B,) of scores (B,) against ascending calibration scores (N,); a score that is NaN gets the smallest.

    Scores closer than TIE count as equal: where a score hardly varies (a linear g has one RJCP for all items), the
    rounding that differs between batch sizes and machines must not decide the rank.
    """
    scores = _ordered(scores)
    least = torch.where(scores > 0, scores * (1.0 - TIE), scores * (1.0 + TIE))
    above = len(calibration) - torch.searchsorted(_ordered(calibration), least.to(calibration.dtype), side="left")
    return (1.0 + above.double()) / (len(calibration) + 1.0)


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


def _ordered(scores: Tensor) -> Tensor:
    """NaN becomes infinity, the strangest score there is: comparisons with NaN would lead the search astray."""
    return scores.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).contiguous()


def fisher_sum(p_values: Tensor) -> Tensor:
    """-2 sum log p over the columns of (B, S): (B,)."""
    return -2.0 * p_values.log().sum(1)


@dataclass(frozen=True)
class Calibration:
    """What a checkpoint knows of in-range items.

    Attributes:
        scores: (N, S), each column ascending; fisher: (N,) ascending.
        observed: moments of the training observations.
        unknown_covariance: (n, n) of the training unknowns; empty where there are too many of them for error bars.
        interval_factor: (n,), scales the modelled standard deviation so that +-1.645 of it covers 90 %; empty likewise.
    """

    scores: Tensor
    fisher: Tensor
    observed: Observed
    unknown_covariance: Tensor
    interval_factor: Tensor

    @classmethod
    def of(
        cls, scores: Tensor, observed: Observed, unknown_covariance: Tensor, interval_factor: Tensor
    ) -> "Calibration":
        """Ranks calibration scores (N, S) among themselves and keeps the sums."""
        scores = _ordered(scores.double())
        ascending = scores.sort(0).values
        columns = zip(ascending.T.contiguous(), scores.T.contiguous(), strict=True)
        p_values = torch.stack([conformal_p(column, own) for column, own in columns], dim=1)
        # Each item stands among the others here: it counts itself once, as a new item does.
        p_values = (p_values * (len(scores) + 1) - 1) / len(scores)
        return cls(ascending, fisher_sum(p_values).sort().values, observed, unknown_covariance, interval_factor)

    def p_values(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Per-score p-values (B, S) and the combined one (B,) of scores (B, S)."""
        scores = scores.detach().cpu().double()
        each = torch.stack(
            [conformal_p(self.scores[:, i].contiguous(), scores[:, i]) for i in range(scores.shape[1])], dim=1
        )
        return each, conformal_p(self.fisher, fisher_sum(each))

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
            "scores": self.scores,
            "fisher": self.fisher,
            "observed_mean": self.observed.mean,
            "observed_whitener": _packed(self.observed.whitener),
            "unknown_covariance": self.unknown_covariance,
            "interval_factor": self.interval_factor,
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Calibration":
        """From a checkpoint; raises KeyError when a tensor is missing."""
        return cls(
            tensors["scores"],
            tensors["fisher"],
            Observed(tensors["observed_mean"], _unpacked(tensors["observed_whitener"])),
            tensors["unknown_covariance"],
            tensors["interval_factor"],
        )
