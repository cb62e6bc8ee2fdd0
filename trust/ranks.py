"""Conformal ranks: what a score means is its rank among items that are known to be in range.

For calibration scores s_1..s_N, never trained on, the p-value of a new score s is (1 + #{s_i >= s}) / (N + 1): if the
new item is exchangeable with them, P(p <= a) <= a (Vovk, Gammerman and Shafer 2005).

Scores are asked a few questions. The answer to one is the strangest of its scores, ranked; the combined p-value ranks
the sum of (log p)^2 over the questions. Both are ranked among the calibration items' own, so that they hold whatever
the dependence between scores. A score beyond all calibration scores is the stranger the further beyond it lies: else
each question's smallest p-value would be shared by as many calibration items as it has scores.
Why not a sum over all scores: docs/decisions/0014-two-questions.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TIE = 1e-3  # relative
LEAST, FURTHEST = 1e-12, 20.0  # score that counts as none; log ratio beyond which further is no stranger


def conformal_p(calibration: Tensor, scores: Tensor) -> Tensor:
    """p-values (..., B) of scores (..., B) against ascending calibration scores (..., N); NaN gets the smallest.

    Scores closer than TIE count as equal: where a score hardly varies (a linear g has one RJCP for all items), the
    rounding that differs between machines and engines must not decide the rank.
    """
    scores = ordered(scores)
    least = torch.where(scores > 0, scores * (1.0 - TIE), scores * (1.0 + TIE))
    count = calibration.shape[-1]
    above = count - torch.searchsorted(ordered(calibration), least.to(calibration.dtype), side="left")
    return (1.0 + above.double()) / (count + 1.0)


def ordered(scores: Tensor) -> Tensor:
    """NaN becomes infinity, the strangest score there is: comparisons with NaN would lead the search astray."""
    return scores.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).contiguous()


def strangeness(p_values: Tensor, scores: Tensor, limit: Tensor) -> Tensor:
    """-log p + log(score / limit) where that is positive: (B, S), limit (S,) the largest of the other scores."""
    beyond = (scores.clamp_min(0.0) + LEAST).log() - (limit.clamp_min(0.0) + LEAST).log()
    return beyond.nan_to_num(nan=0.0).clamp(0.0, FURTHEST) - p_values.log()


def strangest(strange: Tensor, questions: Sequence[Sequence[int]]) -> Tensor:
    """The largest (B, S) of each question: (B, Q)."""
    return torch.stack([strange[:, list(columns)].amax(1) for columns in questions], dim=1)


def sum_of_squares(p_values: Tensor) -> Tensor:
    """sum (log p)^2 over the columns of (B, Q): (B,)."""
    return p_values.log().square().sum(1)


@dataclass(frozen=True)
class Ranks:
    """Calibration scores, and what was made of them, each ascending: scores (N, S), strangest (N, Q), combined (N,).

    ``questions`` says which columns of the scores each question looks at.
    """

    scores: Tensor
    strangest: Tensor
    combined: Tensor
    questions: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, scores: Tensor, questions: tuple[tuple[int, ...], ...]) -> "Ranks":
        """Ranks calibration scores (N, S) among themselves."""
        scores = ordered(scores.double())
        runner_up = scores.sort(0).values[-2]  # what the largest one is compared with
        answers = strangest(strangeness(_among_themselves(scores), scores, runner_up), questions)
        combined = sum_of_squares(_among_themselves(answers))
        return cls(_ascending(scores), _ascending(answers), combined.sort().values, questions)

    def p_values(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Per-score p-values (B, S) and the combined one (B,) of scores (B, S)."""
        scores = ordered(scores.detach().cpu().double())
        each = p_values_by_column(self.scores, scores)
        answers = p_values_by_column(
            self.strangest, strangest(strangeness(each, scores, self.scores[-1]), self.questions)
        )
        return each, conformal_p(self.combined, sum_of_squares(answers))


def _ascending(columns: Tensor) -> Tensor:
    return columns.sort(0).values


def p_values_by_column(calibration: Tensor, scores: Tensor) -> Tensor:
    """p-values (B, S) of scores (B, S), each column against its own of the calibration scores (N, S)."""
    return conformal_p(calibration.T, scores.T).T


def _among_themselves(scores: Tensor) -> Tensor:
    """Each item among the others: it counts itself once, as a new item does."""
    p_values = p_values_by_column(_ascending(scores), scores)
    return (p_values * (len(scores) + 1) - 1) / len(scores)
