"""From a solved batch to the items of an API result: status, cost, diagnostics and verdict of every row."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from solvers.method import CHARGES, Objective
from solvers.plans import Outcome, Plan
from solvers.solve import Status
from trust.calibration import Calibration
from trust.judge import Judge
from trust.scores import SCORES, Scored
from trust.uncertainty import Uncertainty
from trust.verdict import reasons, verdict

Item = dict[str, Any]


def items_of(
    judge: Judge,
    objective: Objective,
    plan: Plan,
    outcome: Outcome,
    observation: Tensor,
    calibrated: bool,
    uncertainty: bool | None = None,
) -> tuple[np.ndarray, list[Item]]:
    """x (B, n) with NaN where there is no answer, and one item a row.

    Args:
        observation: y* (B, m) on the model's device and in its dtype.
        calibrated: whether the rows were solved as the calibration items were; else verdicts are only indicative.
        uncertainty: whether error bars are asked for; None gives them where the Jacobians are explicit anyway.
    """
    solution, problem = outcome.solution, judge.loaded.problem
    answered = solution.status != Status.NONFINITE
    x = torch.where(answered[:, None], solution.x, torch.nan).cpu().numpy()
    items = _solver_items(plan, outcome, observation)
    rows = objective.sizes.fill(answered.nonzero()[:, 0])
    if len(rows):
        found, fit = solution.x[rows], solution.y[rows]
        scored = judge.score(objective, found, fit, observation[rows])
        wanted = judge.scorer.inspector.exact if uncertainty is None else uncertainty
        bars = judge.uncertainty(scored, found, fit) if wanted else None
        for row, diagnostics in zip(rows.tolist(), _diagnostics(judge.calibration, scored, bars), strict=True):
            items[row]["diagnostics"] = {**diagnostics, "calibrated": calibrated}
    if problem.identifiable is not None:
        values = problem.identifiable.of(solution.x).tolist()
        for row in rows.tolist():
            items[row]["identifiable"] = dict(zip(problem.identifiable.names, values[row], strict=True))
    return x, items


def _solver_items(plan: Plan, outcome: Outcome, observation: Tensor) -> list[Item]:
    solution = outcome.solution
    residual_rms = (solution.y - observation).square().mean(1).sqrt().tolist()
    columns = (
        solution.status.tolist(),
        outcome.solved_by.tolist(),
        solution.iterations.tolist(),
        residual_rms,
        solution.residual_rms.tolist(),
        solution.cost.tolist(),
    )
    items = [
        {
            "status": Status(status).name.lower(),
            "solved_by": plan[stage].name,
            "iterations": iterations,
            "residual_rms": rms,
            "residual_normalised": normalised,
            "cost": dict(zip(CHARGES, cost, strict=True)),
            "diagnostics": None,
            "error": _error(Status(status)),
        }
        for status, stage, iterations, rms, normalised, cost in zip(*columns, strict=True)
    ]
    if solution.history is not None:
        for item, trace, fit in zip(items, solution.history, solution.y.tolist(), strict=True):
            item["history"] = trace[trace.isfinite()].tolist()
            item["fit"] = fit
    return items


def _error(status: Status) -> dict[str, str] | None:
    if status is not Status.NONFINITE:
        return None
    return {"type": "nonfinite", "detail": f"{status.sentence} Check its magnitude and units."}


def _diagnostics(calibration: Calibration, scored: Scored, bars: Uncertainty | None) -> list[Item]:
    each, combined = calibration.p_values(scored.scores)
    columns = zip(
        scored.scores.tolist(),
        each.tolist(),
        combined.tolist(),
        scored.inspected.standard_error.tolist(),
        strict=True,
    )
    items = [_diagnosed(*row) for row in columns]
    if bars is not None:
        for item, resolution, std in zip(items, *(_rows(of) for of in (bars.resolution, bars.std)), strict=True):
            item |= {"resolution": resolution, "std": std}
    return items


def _rows(values: Tensor) -> np.ndarray:
    """(B, n) in memory row by row: each is written as JSON without becoming a list."""
    return values.detach().cpu().contiguous().numpy()


def _diagnosed(scores: list[float], p_values: list[float], p_value: float, standard_error: float) -> Item:
    item: Item = dict(zip(SCORES, scores, strict=True))
    named = dict(zip(SCORES, p_values, strict=True))
    return item | {
        "active_bounds": int(item["active_bounds"]),
        "rjcp_p_value": named["rjcp"],
        "rjcp_standard_error": standard_error,
        "p_values": named,
        "p_value": p_value,
        "verdict": str(verdict(p_value)),
        "reasons": reasons(p_value, named),
    }
