"""How far each model can be believed at the moment: its window of answers, judged against its calibration set."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from service.deblurring.networks import Networks
from service.errors import ModelUnusable
from service.inference import Inference
from service.queue.window import Standing, Timed, Windows
from trust.drift import TOLERATED, Assessment, State, Test, Thresholds, Values, assess
from trust.images import IMAGE_SCORES
from trust.scores import SCORES
from trust.verdict import SUSPECT_BELOW

FRESH_S = 1.0  # asked more often than this, the last answer is good enough
QUANTILES = (0.05, 0.5, 0.95, 0.99)


def window_name(model: str, version: int) -> str:
    """Each version has a window of its own: another calibration, another meaning of strange."""
    return f"{model}:{version}"


class Judged:
    """Every model that can be judged, of vectors and of images, and the RJCP of its calibration items.

    Of images it is RJCP over its floor: the floor depends on kernel and noise more than on the picture, and only their
    ratio is comparable from one picture to the next.
    """

    def __init__(self, inference: Inference, networks: Networks) -> None:
        self._inference, self._networks = inference, networks

    def versions(self) -> dict[str, int]:
        """Name -> newest version; networks without calibration are left out."""
        networks = {name: self._networks.version(name) for name in self._networks.names()}
        ranked = {name: v for name, v in networks.items() if self._networks.load(name, v).calibration is not None}
        return {manifest.name: manifest.version for manifest in self._inference.manifests()} | ranked

    def rjcp(self, model: str, version: int) -> Values:
        """The RJCP (N,) of the calibration items, ascending; raises UnknownModel, ModelUnusable."""
        column: Values
        if model not in self._networks.registry.networks():
            column = self._inference.calibration(model, version).scores[:, SCORES.index("rjcp")].double().numpy()
            return column
        calibration = self._networks.load(model, version).calibration
        if calibration is None:
            raise ModelUnusable(f"model {model!r} is not calibrated")
        column = calibration.scores[:, IMAGE_SCORES.index("rjcp_over_floor")].double().numpy()
        return column


@dataclass(frozen=True)
class Report:
    """What GET /health/rjcp says of one model."""

    version: int
    standing: Standing
    assessment: Assessment
    rjcp: Values
    p_values: Values
    calibration: Values
    window: Sequence[Timed]

    def samples(self) -> dict[str, Any]:
        """The window itself, oldest first: when, RJCP, combined p-value, verdict."""
        return {
            "at": [timed.at for timed in self.window],
            "rjcp": self.rjcp,
            "p_value": self.p_values,
            "verdict": [timed.sample.verdict for timed in self.window],
        }

    def document(self) -> dict[str, Any]:
        """As JSON."""
        drift = self.assessment.drift
        return {
            "state": self.standing.state,
            "since": self.standing.since,
            "version": self.version,
            "reasons": _reasons(self.assessment),
            "window": {"count": self.assessment.count, "span_s": self._span_s()},
            "rjcp": {"median": _quantile(self.rjcp, 0.5), "p95": _quantile(self.rjcp, 0.95)},
            "calibration": {
                "count": len(self.calibration),
                **{f"p{q * 100:g}" if q != 0.5 else "median": _quantile(self.calibration, q) for q in QUANTILES},
            },
            "out_of_range": self.assessment.out_of_range,
            "suspect_or_worse": float(np.mean(self.p_values < SUSPECT_BELOW)) if len(self.p_values) else 0.0,
            "drift": None
            if drift is None
            else {**_test(drift.worst), "rjcp": _test(drift.rjcp), "p_values": _test(drift.p_values)},
        }

    def _span_s(self) -> float:
        return self.window[-1].at - self.window[0].at if self.window else 0.0


class RjcpWatch:
    """Judges every model on demand; the state is kept in Redis, so that all APIs tell the same. Owned by one loop."""

    def __init__(self, judged: Judged, windows: Windows, thresholds: Thresholds, limiter: CapacityLimiter) -> None:
        self.judged = judged
        self._windows, self._thresholds = windows, thresholds
        self._limiter = limiter
        self._lock = asyncio.Lock()
        self._reports: dict[str, Report] = {}
        self._judged_at = -FRESH_S

    async def reports(self) -> dict[str, Report]:
        """One report for each model, by name. Raises QueueUnavailable."""
        async with self._lock:
            if time.monotonic() - self._judged_at >= FRESH_S:
                versions = await anyio.to_thread.run_sync(self.judged.versions, limiter=self._limiter)
                self._reports = {model: await self._judge(model, version) for model, version in versions.items()}
                self._judged_at = time.monotonic()
            return self._reports

    async def _judge(self, model: str, version: int) -> Report:
        name = window_name(model, version)
        window, before = await self._windows.read(name)
        found = await anyio.to_thread.run_sync(self._assess, model, version, window, limiter=self._limiter)
        assessment, rjcp, p_values, calibration = found
        state = assessment.state(State(before.state))
        standing = await self._windows.judge(name, before, state)
        return Report(version, standing, assessment, rjcp, p_values, calibration, window)

    def _assess(self, model: str, version: int, window: list[Timed]) -> tuple[Assessment, Values, Values, Values]:
        calibration = self.judged.rjcp(model, version)
        rjcp = np.array([timed.sample.rjcp for timed in window], dtype=np.float64)
        p_values = np.array([timed.sample.p_value for timed in window], dtype=np.float64)
        return assess(rjcp, p_values, calibration, self._thresholds), rjcp, p_values, calibration


def _quantile(values: Values, q: float) -> float | None:
    return float(np.quantile(values, q)) if len(values) else None


def _test(test: Test) -> dict[str, float]:
    return {"statistic": test.statistic, "p_value": test.p_value}


def _reasons(assessment: Assessment) -> list[str]:
    """The figures behind a state, as sentences; none while all is well."""
    if assessment.level() in (State.OK, State.NO_DATA):
        return []
    limits, said = assessment.thresholds, []
    if assessment.out_of_range >= limits.out_of_range_warning:
        said.append(
            f"{assessment.out_of_range:.1%} of the last {assessment.count} answers were out of range; "
            f"in-range traffic gives up to {TOLERATED:.0%}"
        )
    for what in ("rjcp", "p_values") if assessment.drift else ():
        test: Test = getattr(assessment.drift, what)
        if test.statistic >= limits.drift_warning and 2 * test.p_value < limits.significance:
            shown = "RJCP" if what == "rjcp" else "the combined p-value"
            said.append(f"{shown} is no longer distributed as on the calibration set (distance {test.statistic:.2f})")
    return said
