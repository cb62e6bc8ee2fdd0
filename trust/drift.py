"""Is what comes in still what the model was calibrated on? A window of answers against the calibration set.

Two two-sample Kolmogorov-Smirnov tests (docs/decisions/0009-drift.md):

    rjcp       the window's RJCP against the calibration RJCP, two-sided, in steps of a thousandth of its median:
               a linear g has one RJCP for all inputs, give or take rounding, and rounding must raise no alarm
    p_values   the window's combined p-values against the calibration set's own, (1..N)/(N + 1); one-sided,
               because only smaller ones are stranger
"""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trust.verdict import OUT_OF_RANGE_BELOW

RESOLUTION = 1e-3
# What a calibrated verdict may raise on in-range items: its nominal share, doubled for a finite calibration set.
TOLERATED = 2 * OUT_OF_RANGE_BELOW
Values = NDArray[np.float64]


class State(StrEnum):
    """How a model stands, from good to bad; no_data where too little came in to tell."""

    NO_DATA = "no_data"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


_LADDER = (State.OK, State.WARNING, State.CRITICAL)


@dataclass(frozen=True)
class Thresholds:
    """When a window is a warning, and when it is critical.

    A figure counts only where chance makes it rarer than ``significance``; a state is left once the figures fall
    below ``leave`` times what raises it.
    """

    out_of_range_warning: float = 0.05
    out_of_range_critical: float = 0.20
    drift_warning: float = 0.15
    significance: float = 1e-4
    min_items: int = 50
    min_drift_items: int = 200
    leave: float = 0.8


@dataclass(frozen=True)
class Test:
    """A statistic in [0, 1] and the probability of one as large by chance."""

    __test__ = False  # not one of pytest's
    statistic: float
    p_value: float


@dataclass(frozen=True)
class Drift:
    """Both tests; ``worst`` is the less likely of the two."""

    rjcp: Test
    p_values: Test

    @property
    def worst(self) -> Test:
        return min(self.rjcp, self.p_values, key=lambda test: (test.p_value, -test.statistic))


@dataclass(frozen=True)
class Assessment:
    """What a window says: its count, the share out of range, and the drift (None below ``min_drift_items``)."""

    count: int
    out_of_range: float
    drift: Drift | None
    thresholds: Thresholds = field(repr=False)

    def level(self, factor: float = 1.0) -> State:
        """The state by these figures alone, with the thresholds scaled by ``factor``."""
        limits = self.thresholds
        if self.count < limits.min_items:
            return State.NO_DATA
        by_chance = stats.binom.sf(round(self.out_of_range * self.count) - 1, self.count, TOLERATED)
        share = self.out_of_range if by_chance < limits.significance else 0.0
        worst = self.drift.worst if self.drift else Test(0.0, 1.0)
        # Two tests were tried: each must be twice as unlikely.
        drifted = worst.statistic >= factor * limits.drift_warning and 2 * worst.p_value < limits.significance
        strange = share >= factor * limits.out_of_range_warning
        if share >= factor * limits.out_of_range_critical or (strange and drifted):
            return State.CRITICAL
        return State.WARNING if strange or drifted else State.OK

    def state(self, before: State) -> State:
        """The state now, given the one before: up at the thresholds, down only clearly below them."""
        now = self.level()
        if State.NO_DATA in (now, before) or _LADDER.index(now) >= _LADDER.index(before):
            return now
        return min(before, self.level(self.thresholds.leave), key=_LADDER.index)


def assess(rjcp: Values, p_values: Values, calibration_rjcp: Values, thresholds: Thresholds) -> Assessment:
    """Looks at a window: RJCP (B,) and combined p-values (B,) against the calibration RJCP (N,); B = 0 is allowed."""
    count = len(rjcp)
    out_of_range = float(np.mean(p_values < OUT_OF_RANGE_BELOW)) if count else 0.0
    drift = None
    if count >= max(1, thresholds.min_drift_items):
        drift = Drift(rjcp_test(rjcp, calibration_rjcp), p_values_test(p_values, len(calibration_rjcp)))
    return Assessment(count, out_of_range, drift, thresholds)


def rjcp_test(rjcp: Values, calibration_rjcp: Values) -> Test:
    """Two-sided; both samples in whole steps from the calibrated median, so that rounding falls into one step."""
    center = float(np.median(calibration_rjcp))
    step = RESOLUTION * abs(center) or 1.0
    window, calibration = (_in_steps(values, center, step) for values in (rjcp, calibration_rjcp))
    found = stats.ks_2samp(window, calibration, method="asymp")
    return Test(float(found.statistic), float(found.pvalue))


def p_values_test(p_values: Values, calibration_items: int) -> Test:
    """One-sided: are the p-values smaller than those of the calibration items among themselves?"""
    even = np.arange(1, calibration_items + 1) / (calibration_items + 1)
    found = stats.ks_2samp(p_values, even, alternative="greater", method="asymp")
    return Test(float(found.statistic), float(found.pvalue))


def _in_steps(values: Values, center: float, step: float) -> Values:
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.round((values - center) / step)
    return np.nan_to_num(steps, nan=np.inf, posinf=np.inf)
